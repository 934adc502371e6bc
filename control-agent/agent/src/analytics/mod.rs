//! What workloads' traffic was, and what policy said to it: kept from what the dataplane tells, and answered over HTTP as
//! OpenContrail's analytics node answers (reference control-plane.md section 4.10).
//!
//! | module | holds |
//! |---|---|
//! | (here) | the tasks |
//! | `collect` | asks the dataplane for what sessions did |
//! | `store` | the last of it, and its rows: a session's directions |
//! | `endpoint` | other rows of it: a session's local ends |
//! | `query` | a query, and its answer over rows |
//! | `http` | the requests there are |

mod collect;
mod endpoint;
mod http;
mod query;
mod store;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::{error, info};

use crate::config::Config;
use store::Store;

/// What the tasks share.
pub(crate) struct Analytics {
    store: Mutex<Store>,
    configs: watch::Receiver<Config>,
}

impl Analytics {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers at `listen` until the process ends.
///
/// # Errors
/// The address cannot be had.
pub(crate) async fn start(
    listen: SocketAddr,
    sock_dir: PathBuf,
    configs: watch::Receiver<Config>,
) -> std::io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    let analytics = Arc::new(Analytics { store: Mutex::new(Store::default()), configs });
    tokio::spawn(collect::collect(sock_dir, Arc::clone(&analytics)));
    tokio::spawn(async move {
        if let Err(failure) = axum::serve(listener, http::routes(analytics)).await {
            error!("analytics at {listen}: {failure}");
        }
    });
    info!("analytics at http://{listen}/analytics/tables");
    Ok(())
}

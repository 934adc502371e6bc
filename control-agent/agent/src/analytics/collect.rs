//! Asks the dataplane every two seconds for what sessions did, over a connection of its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use api::{ClientHello, Decoder, FlowRecord, Reply, Request, SOCKET_NAME, VERSIONS};
use tokio::net::UnixStream;

use super::Analytics;
use crate::dataplane::{Connection, Lost, refusal};

const PAUSE: Duration = Duration::from_secs(2);

/// For ever.
pub(super) async fn collect(directory: PathBuf, analytics: Arc<Analytics>) {
    let path = directory.join(SOCKET_NAME);
    loop {
        if let Ok(stream) = UnixStream::connect(&path).await {
            let connection = Connection { stream, decoder: Decoder::new() };
            // Why it ended is the other connection's to say.
            let Err(lost) = follow(connection, &analytics).await;
            tracing::debug!("analytics: {lost}");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn follow(
    mut connection: Connection,
    analytics: &Analytics,
) -> Result<std::convert::Infallible, Lost> {
    let client = concat!("vrouter-agent analytics ", env!("CARGO_PKG_VERSION")).to_owned();
    let hello = Request::Hello(ClientHello { versions: VERSIONS, client });
    match connection.call(&hello).await? {
        Reply::Hello(_) => {}
        other => return Err(refusal(other)),
    }
    let mut after = None;
    loop {
        let (records, last, more) = next(&mut connection, after).await?;
        analytics.store().add(records);
        after = Some(last);
        if !more {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn next(
    connection: &mut Connection,
    after: Option<u64>,
) -> Result<(Vec<FlowRecord>, u64, bool), Lost> {
    match connection.call(&Request::FlowRecords { after }).await? {
        Reply::FlowRecords { records, last, more } => Ok((records, last, more)),
        other => Err(refusal(other)),
    }
}

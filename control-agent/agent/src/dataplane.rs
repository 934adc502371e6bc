//! The control socket of `vrouterd`: keeps it as wanted, over restarts of either side.
//!
//! On each connection: begin an epoch, delete what is nobody's any more, put everything, then differences as they come;
//! sweep once allowed. A socket that closes is noticed at once and tried again every [`PAUSE`].

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use api::{
    ApiError, ClientHello, CodecError, Decoder, Reply, Request, SOCKET_NAME, Transaction, VERSIONS,
    encode,
};
use tables::{Key, Op};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::desired::Objects;
use crate::sync::Sync;

/// Between two tries to connect.
const PAUSE: Duration = Duration::from_millis(50);
/// An answer that takes longer means a hung dataplane.
const ANSWER: Duration = Duration::from_secs(30);
/// When something was refused: after this it is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// What the dataplane should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    /// What it should have.
    pub(crate) objects: Arc<Objects>,
    /// What was somebody's once and is nobody's any more: goes without waiting for the sweep.
    pub(crate) resting: BTreeSet<Key>,
    /// Whether what it has besides may go.
    pub(crate) may_sweep: bool,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Lost {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Codec(#[from] CodecError),
    #[error("{0}")]
    Refused(ApiError),
    #[error("vrouterd answered {0} where another answer was due")]
    Unexpected(&'static str),
    #[error("vrouterd did not answer within {} s", ANSWER.as_secs())]
    Timeout,
    #[error("the agent ends")]
    Ended,
}

/// Serves wishes until their sender is gone.
pub(crate) async fn serve(directory: PathBuf, mut wishes: watch::Receiver<Option<Wish>>) {
    let path = directory.join(SOCKET_NAME);
    let mut told = false;
    loop {
        let end = match UnixStream::connect(&path).await {
            Ok(stream) => {
                told = false;
                let mut connection = Connection { stream, decoder: Decoder::new() };
                connection.serve(&mut wishes).await
            }
            Err(error) => Lost::Io(error),
        };
        if matches!(end, Lost::Ended) {
            return;
        }
        if !std::mem::replace(&mut told, true) {
            warn!("vrouterd at {}: {end}; trying on", path.display());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// A connection, and what has come over it in parts.
pub(crate) struct Connection {
    pub(crate) stream: UnixStream,
    pub(crate) decoder: Decoder,
}

impl Connection {
    async fn serve(&mut self, wishes: &mut watch::Receiver<Option<Wish>>) -> Lost {
        match self.serve_until(wishes).await {
            Ok(never) => match never {},
            Err(lost) => lost,
        }
    }

    async fn serve_until(
        &mut self,
        wishes: &mut watch::Receiver<Option<Wish>>,
    ) -> Result<std::convert::Infallible, Lost> {
        let client = concat!("vrouter-agent ", env!("CARGO_PKG_VERSION")).to_owned();
        let hello = Request::Hello(ClientHello { versions: VERSIONS, client });
        match self.call(&hello).await? {
            Reply::Hello(server) => info!("connected to {}", server.server),
            other => return Err(refusal(other)),
        }
        let epoch = match self.call(&Request::BeginEpoch).await? {
            Reply::Epoch(epoch) => epoch,
            other => return Err(refusal(other)),
        };
        let mut sync = Sync::default();
        let mut swept = false;
        wishes.mark_changed();
        loop {
            let wish = wishes.borrow_and_update().clone();
            if let Some(wish) = wish {
                self.bring(&mut sync, &wish).await?;
                if !swept && wish.may_sweep {
                    self.done(&Request::Sweep { epoch }).await?;
                    swept = true;
                    info!("dataplane has {} objects; everything else is swept", wish.objects.len());
                }
            }
            let retry = async {
                if sync.has_refused() {
                    tokio::time::sleep(RETRY).await;
                } else {
                    std::future::pending().await
                }
            };
            tokio::select! {
                changed = wishes.changed() => changed.map_err(|_| Lost::Ended)?,
                // Nothing is due from the other side: what comes is the end.
                unasked = receive(&mut self.stream, &mut self.decoder) => {
                    return Err(Lost::Unexpected(unasked?.name()));
                }
                () = retry => sync.retry_refused(),
            }
        }
    }

    /// Brings the dataplane to what is wished, but for what it refuses.
    async fn bring(&mut self, sync: &mut Sync, wish: &Wish) -> Result<(), Lost> {
        loop {
            let ops = sync.next(&wish.objects, &wish.resting);
            if ops.is_empty() {
                return Ok(());
            }
            // A refused transaction is halved until the operation to blame stands alone, so that one bad object does
            // not keep out the others.
            let mut parts = vec![ops];
            while let Some(part) = parts.pop() {
                let request = Request::Apply(Transaction { ops: part.clone() });
                match self.call(&request).await? {
                    Reply::Done { .. } => sync.acknowledge(&part),
                    Reply::Error(refusal) => match part.as_slice() {
                        [] => {}
                        [op] => {
                            error!("vrouterd refuses {}: {refusal}", key_of(op));
                            sync.refuse(op);
                        }
                        _ => {
                            let (head, tail) = part.split_at(part.len() / 2);
                            parts.push(tail.to_vec());
                            parts.push(head.to_vec());
                        }
                    },
                    other => return Err(Lost::Unexpected(other.name())),
                }
            }
        }
    }

    async fn done(&mut self, request: &Request) -> Result<(), Lost> {
        match self.call(request).await? {
            Reply::Done { .. } => Ok(()),
            other => Err(refusal(other)),
        }
    }

    /// One request, one reply.
    pub(crate) async fn call(&mut self, request: &Request) -> Result<Reply, Lost> {
        let mut bytes = Vec::new();
        encode(request, &mut bytes)?;
        let exchange = async {
            self.stream.write_all(&bytes).await?;
            receive(&mut self.stream, &mut self.decoder).await
        };
        tokio::time::timeout(ANSWER, exchange).await.map_err(|_| Lost::Timeout)?
    }
}

async fn receive(stream: &mut UnixStream, decoder: &mut Decoder) -> Result<Reply, Lost> {
    loop {
        if let Some(reply) = decoder.next_message()? {
            return Ok(reply);
        }
        let mut chunk = [0; 4096];
        let count = stream.read(&mut chunk).await?;
        if count == 0 {
            return Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset).into());
        }
        decoder.feed(chunk.get(..count).unwrap_or_default());
    }
}

pub(crate) fn refusal(reply: Reply) -> Lost {
    match reply {
        Reply::Error(refusal) => Lost::Refused(refusal),
        other => Lost::Unexpected(other.name()),
    }
}

fn key_of(op: &Op) -> Key {
    match op {
        Op::Put(object) => object.key(),
        Op::Delete(key) => *key,
    }
}

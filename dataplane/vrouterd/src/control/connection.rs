//! One client of the control socket.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use api::{
    ApiError, CodecError, Decoder, ErrorCode, Reply, Request, ServerHello, Transaction, VERSIONS,
    encode,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::epochs::Client;
use super::places::{Place, Places};

/// How long a client may take to take an answer off the socket.
const WRITE_DEADLINE: Duration = Duration::from_secs(5);
/// How long a client may take to say hello.
const HELLO_DEADLINE: Duration = Duration::from_secs(10);

/// A request on its way to the owner of the tables.
#[derive(Debug)]
pub(crate) struct Ask {
    /// Who asks; dropped with its connection.
    pub(crate) client: Arc<Client>,
    pub(crate) request: Request,
    pub(crate) answer: oneshot::Sender<Reply>,
}

/// Accepts clients for ever. `instance` tells clients one start of this process from the next.
///
/// # Errors
/// The listening socket itself failed.
pub(crate) async fn serve(
    listener: UnixListener,
    asks: mpsc::Sender<Ask>,
    instance: u64,
) -> io::Result<()> {
    let mut places = Places::default();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) if is_passing(&error) => {
                tracing::warn!("control socket: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        let Some(place) = places.take() else {
            tracing::debug!("control socket: too many busy clients, one was turned away");
            continue;
        };
        let asks = asks.clone();
        let of = place.clone();
        let task = tokio::spawn(async move {
            let mut client = Connection {
                stream,
                asks,
                decoder: Decoder::new(),
                name: String::new(),
                place,
                identity: Arc::new(Client),
            };
            if let Err(end) = client.run(instance).await {
                tracing::debug!("control client `{}` closed: {end}", client.name);
            }
        });
        places.fill(of, task.abort_handle());
    }
}

/// Out of descriptors or memory: clients that leave give some back.
fn is_passing(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(
        code,
        Some(
            Errno::MFILE
                | Errno::NFILE
                | Errno::NOMEM
                | Errno::NOBUFS
                | Errno::CONNABORTED
                | Errno::INTR
        )
    )
}

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("it went away")]
    Gone,
    #[error("it did not say hello first, or not in time")]
    NoHello,
    #[error("{0}")]
    Codec(#[from] CodecError),
    #[error("it does not read its answers")]
    DoesNotRead,
    #[error("{0}")]
    Io(#[from] io::Error),
}

struct Connection {
    stream: UnixStream,
    asks: mpsc::Sender<Ask>,
    decoder: Decoder,
    name: String,
    place: Place,
    identity: Arc<Client>,
}

impl Connection {
    async fn run(&mut self, instance: u64) -> Result<(), End> {
        timeout(HELLO_DEADLINE, self.greet(instance)).await.map_err(|_| End::NoHello)??;
        tracing::debug!("control client `{}`", self.name);
        self.place.greeted();
        loop {
            let received = self.receive().await;
            self.place.heard(received.as_ref().ok());
            let reply = match received {
                Ok(Request::Hello(_)) => Reply::Error(ApiError::new(
                    ErrorCode::Invalid,
                    "hello",
                    "was said already on this connection",
                )),
                Ok(request) => self.ask(request).await?,
                // The frame was whole, so the stream goes on behind it: a verb this version does not know, or junk.
                Err(End::Codec(CodecError::Malformed(error))) => Reply::Error(ApiError::new(
                    ErrorCode::Unsupported,
                    "request",
                    format!("is unknown or malformed ({error})"),
                )),
                Err(end) => return Err(end),
            };
            self.send(&reply).await?;
        }
    }

    async fn greet(&mut self, instance: u64) -> Result<(), End> {
        let Request::Hello(hello) = self.receive().await? else { return Err(End::NoHello) };
        self.name = hello.client;
        let version = match VERSIONS.agree(hello.versions) {
            Ok(version) => version,
            Err(refusal) => {
                self.send(&Reply::Error(refusal)).await?;
                return Err(End::NoHello);
            }
        };
        // An empty transaction changes nothing and tells the generation.
        let nothing = Request::Apply(Transaction::default());
        let Reply::Done { generation } = self.ask(nothing).await? else { return Err(End::Gone) };
        let server = concat!("vrouterd ", env!("CARGO_PKG_VERSION")).to_owned();
        let hello = ServerHello { version, server, instance, generation };
        self.send(&Reply::Hello(hello)).await
    }

    async fn receive(&mut self) -> Result<Request, End> {
        let mut chunk = [0u8; 16 << 10];
        loop {
            if let Some(request) = self.decoder.next_message()? {
                return Ok(request);
            }
            match self.stream.read(&mut chunk).await? {
                0 => return Err(End::Gone),
                count => self.decoder.feed(&chunk[..count]),
            }
        }
    }

    async fn ask(&self, request: Request) -> Result<Reply, End> {
        let (answer, reply) = oneshot::channel();
        let ask = Ask { client: Arc::clone(&self.identity), request, answer };
        self.asks.send(ask).await.map_err(|_| End::Gone)?;
        reply.await.map_err(|_| End::Gone)
    }

    async fn send(&mut self, reply: &Reply) -> Result<(), End> {
        let mut bytes = Vec::new();
        encode(reply, &mut bytes)?;
        match timeout(WRITE_DEADLINE, self.stream.write_all(&bytes)).await {
            Ok(result) => Ok(result?),
            Err(_) => Err(End::DoesNotRead),
        }
    }
}

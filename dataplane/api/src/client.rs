//! A blocking client of the control socket.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tables::{Epoch, Op, VifId};

use crate::codec::{CodecError, Decoder, encode};
use crate::error::ApiError;
use crate::message::{
    ClientHello, Core, Cursor, DropScope, Lookup, Page, Reply, Request, Rows, ServerHello, Table,
    Transaction, VERSIONS,
};
use crate::row::{
    Description, DropStats, Explanation, FlowHandle, FlowTableInfo, FlowVerdict, MemoryStats,
    NewFlow, PacketFilter, ProcessInfo, RouteChange, VrouterInfo,
};

/// The socket's name in its directory.
pub const SOCKET_NAME: &str = "vrouterd.sock";

/// How long one answer may take. A barrier waits for workers, not for people.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The socket directory: `VROUTER_SOCK_DIR`, else `/run/vrouter`.
pub fn default_directory() -> PathBuf {
    std::env::var_os("VROUTER_SOCK_DIR")
        .filter(|directory| !directory.is_empty())
        .map_or_else(|| PathBuf::from("/run/vrouter"), PathBuf::from)
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing is there. Start `vrouterd`, or name its directory.
    #[error("{}: no such socket (is vrouterd running? --sock-dir names its directory)", .0.display())]
    NoSocket(PathBuf),
    /// The socket is left over from a dead process.
    #[error("{}: nobody listens (vrouterd is not running)", .0.display())]
    NotListening(PathBuf),
    /// The socket is not ours to open.
    #[error("{}: permission denied", .0.display())]
    Denied(PathBuf),
    /// No version in common.
    #[error("{0}")]
    Version(ApiError),
    /// The daemon went away, in the middle of this.
    #[error("vrouterd closed the connection")]
    Closed,
    /// No answer in time.
    #[error("vrouterd did not answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The request was refused.
    #[error("{0}")]
    Refused(ApiError),
    /// The answer is not one to this request.
    #[error("vrouterd answered {got} where {wanted} was expected")]
    Unexpected {
        /// What came.
        got: &'static str,
        /// What should have.
        wanted: &'static str,
    },
    /// Bytes that are no message.
    #[error("control socket: {0}")]
    Codec(#[from] CodecError),
    /// Something else of the system.
    #[error("control socket: {0}")]
    Io(io::Error),
}

impl ClientError {
    /// The errno that fits, for exit texts.
    pub fn errno(&self) -> i32 {
        match self {
            ClientError::NoSocket(_) => 2,
            ClientError::NotListening(_) => 111,
            ClientError::Denied(_) => 13,
            ClientError::Closed => 104,
            ClientError::Timeout(_) => 110,
            ClientError::Version(refusal) | ClientError::Refused(refusal) => refusal.code.errno(),
            ClientError::Unexpected { .. } | ClientError::Codec(_) => 71,
            ClientError::Io(error) => error.raw_os_error().unwrap_or(5),
        }
    }

    /// Whether connecting again can help.
    pub fn is_connection_lost(&self) -> bool {
        !matches!(self, ClientError::Refused(_) | ClientError::Version(_) | ClientError::Denied(_))
    }
}

/// A connection with an agreed version.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    decoder: Decoder,
    timeout: Duration,
    server: ServerHello,
}

impl Client {
    /// Connects to `vrouterd.sock` in `directory` and agrees on a version; `name` is for the daemon's log.
    ///
    /// # Errors
    /// Every [`ClientError`] but `Refused`.
    pub fn connect(directory: &Path, name: &str) -> Result<Client, ClientError> {
        let path = directory.join(SOCKET_NAME);
        let stream = UnixStream::connect(&path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => ClientError::NoSocket(path),
            ErrorKind::ConnectionRefused => ClientError::NotListening(path),
            ErrorKind::PermissionDenied => ClientError::Denied(path),
            _ => ClientError::Io(error),
        })?;
        Client::over(stream, name)
    }

    /// Agrees on a version over a stream that is connected already.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub fn over(stream: UnixStream, name: &str) -> Result<Client, ClientError> {
        let nobody = ServerHello { version: 0, server: String::new(), instance: 0, generation: 0 };
        let mut client =
            Client { stream, decoder: Decoder::new(), timeout: ANSWER_TIMEOUT, server: nobody };
        client.set_timeout(ANSWER_TIMEOUT)?;
        let hello = ClientHello { versions: VERSIONS, client: name.to_owned() };
        client.server = match client.call(&Request::Hello(hello)) {
            Ok(Reply::Hello(server)) => server,
            Ok(other) => return Err(unexpected(&other, "hello")),
            Err(ClientError::Refused(refusal)) => return Err(ClientError::Version(refusal)),
            Err(error) => return Err(error),
        };
        Ok(client)
    }

    /// How long an answer may take from now on.
    ///
    /// # Errors
    /// [`ClientError::Io`].
    pub fn set_timeout(&mut self, timeout: Duration) -> Result<(), ClientError> {
        self.stream.set_read_timeout(Some(timeout)).map_err(ClientError::Io)?;
        self.stream.set_write_timeout(Some(timeout)).map_err(ClientError::Io)?;
        self.timeout = timeout;
        Ok(())
    }

    /// Who is at the other end.
    pub fn server(&self) -> &ServerHello {
        &self.server
    }

    /// One request, one reply. After any error but `Refused` the connection is of no use.
    ///
    /// # Errors
    /// A refusal is [`ClientError::Refused`].
    pub fn call(&mut self, request: &Request) -> Result<Reply, ClientError> {
        let mut bytes = Vec::new();
        encode(request, &mut bytes)?;
        self.stream.write_all(&bytes).map_err(|error| self.lost(error))?;
        match self.receive()? {
            Reply::Error(refusal) => Err(ClientError::Refused(refusal)),
            reply => Ok(reply),
        }
    }

    /// Changes the model; gives the generation that will contain it.
    ///
    /// # Errors
    /// [`ClientError::Refused`] names object and field; nothing was changed then.
    pub fn apply(&mut self, ops: Vec<Op>) -> Result<u64, ClientError> {
        self.done(&Request::Apply(Transaction { ops }))
    }

    /// Changes the model by hand; gives the generation that will contain it.
    ///
    /// # Errors
    /// [`ClientError::Refused`] names object and field; nothing was changed then.
    pub fn operate(&mut self, ops: Vec<Op>) -> Result<u64, ClientError> {
        self.done(&Request::Operate(Transaction { ops }))
    }

    /// Starts to remember what this client puts; gives what to sweep with.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn begin_epoch(&mut self) -> Result<Epoch, ClientError> {
        match self.call(&Request::BeginEpoch)? {
            Reply::Epoch(epoch) => Ok(epoch),
            other => Err(unexpected(&other, "epoch")),
        }
    }

    /// Deletes what neither this client has put since [`Client::begin_epoch`] gave `epoch`, nor another one that is
    /// still connected since its own.
    ///
    /// # Errors
    /// As [`Client::call`]; the epoch must be the one this client began last.
    pub fn sweep(&mut self, epoch: Epoch) -> Result<u64, ClientError> {
        self.done(&Request::Sweep { epoch })
    }

    /// Waits until every worker forwards by what was applied before.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn barrier(&mut self) -> Result<u64, ClientError> {
        self.done(&Request::Barrier)
    }

    /// The pages of a table, one call each.
    pub fn pages(&mut self, table: Table) -> Pages<'_> {
        Pages { client: self, table, after: None, finished: false }
    }

    /// One row, or a refusal.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn get(&mut self, lookup: Lookup) -> Result<Rows, ClientError> {
        match self.call(&Request::Get(lookup))? {
            Reply::Page(page) => Ok(page.rows),
            other => Err(unexpected(&other, "page")),
        }
    }

    /// Drop counters.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn drops(
        &mut self,
        scope: DropScope,
        core: Option<Core>,
    ) -> Result<DropStats, ClientError> {
        match self.call(&Request::Drops { scope, core })? {
            Reply::Drops(stats) => Ok(stats),
            other => Err(unexpected(&other, "drops")),
        }
    }

    /// The process itself.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn info(&mut self) -> Result<ProcessInfo, ClientError> {
        match self.call(&Request::Info)? {
            Reply::Info(info) => Ok(info),
            other => Err(unexpected(&other, "info")),
        }
    }

    /// Limits and settings.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn vrouter(&mut self) -> Result<VrouterInfo, ClientError> {
        match self.call(&Request::Vrouter)? {
            Reply::Vrouter(info) => Ok(info),
            other => Err(unexpected(&other, "vrouter")),
        }
    }

    /// Objects in memory.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn memory(&mut self) -> Result<MemoryStats, ClientError> {
        match self.call(&Request::Memory)? {
            Reply::Memory(stats) => Ok(stats),
            other => Err(unexpected(&other, "memory")),
        }
    }

    /// Text about the dataplane.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn describe(&mut self, what: Description) -> Result<String, ClientError> {
        match self.call(&Request::Describe(what))? {
            Reply::Text(text) => Ok(text),
            other => Err(unexpected(&other, "text")),
        }
    }

    /// Changes of routes behind a place in their log, and the place to go on from.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn route_changes(
        &mut self,
        after: Option<u64>,
    ) -> Result<(Vec<RouteChange>, u64), ClientError> {
        match self.call(&Request::RouteChanges { after })? {
            Reply::RouteChanges { changes, last } => Ok((changes, last)),
            other => Err(unexpected(&other, "route changes")),
        }
    }

    /// The flow table as a whole.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn flow_table(&mut self) -> Result<FlowTableInfo, ClientError> {
        match self.call(&Request::FlowTable)? {
            Reply::FlowTable(info) => Ok(info),
            other => Err(unexpected(&other, "flow table")),
        }
    }

    /// Ends all flows; gives the table as it was before.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn flush_flows(&mut self) -> Result<FlowTableInfo, ClientError> {
        match self.call(&Request::FlushFlows)? {
            Reply::FlowTable(info) => Ok(info),
            other => Err(unexpected(&other, "flow table")),
        }
    }

    /// Makes flows without packets.
    ///
    /// # Errors
    /// As [`Client::call`]; of each flow, why it was not made.
    pub fn make_flows(
        &mut self,
        flows: Vec<NewFlow>,
    ) -> Result<Vec<Result<FlowHandle, ApiError>>, ClientError> {
        match self.call(&Request::MakeFlows(flows))? {
            Reply::Flows(flows) => Ok(flows),
            other => Err(unexpected(&other, "flows")),
        }
    }

    /// Decides about flows.
    ///
    /// # Errors
    /// As [`Client::call`]; of each flow, why nothing was decided.
    pub fn decide_flows(
        &mut self,
        verdicts: Vec<FlowVerdict>,
    ) -> Result<Vec<Result<FlowHandle, ApiError>>, ClientError> {
        match self.call(&Request::FlowVerdicts(verdicts))? {
            Reply::Flows(flows) => Ok(flows),
            other => Err(unexpected(&other, "flows")),
        }
    }

    /// What would become of a packet that came in at an interface.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn explain(&mut self, vif: VifId, packet: Vec<u8>) -> Result<Explanation, ClientError> {
        match self.call(&Request::Explain { vif, packet })? {
            Reply::Explanation(explanation) => Ok(explanation),
            other => Err(unexpected(&other, "explanation")),
        }
    }

    /// Follows the next real packets that match; waits until there are so many, or so many seconds.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn trace(
        &mut self,
        filter: PacketFilter,
        count: u32,
        seconds: u32,
    ) -> Result<Explanation, ClientError> {
        let usual = self.timeout;
        self.set_timeout(usual + Duration::from_secs(seconds.into()))?;
        let reply = self.call(&Request::Trace { filter, count, seconds });
        self.set_timeout(usual)?;
        match reply? {
            Reply::Explanation(explanation) => Ok(explanation),
            other => Err(unexpected(&other, "explanation")),
        }
    }

    /// A request that is answered by [`Reply::Done`].
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn done(&mut self, request: &Request) -> Result<u64, ClientError> {
        match self.call(request)? {
            Reply::Done { generation } => Ok(generation),
            other => Err(unexpected(&other, "done")),
        }
    }

    fn receive(&mut self) -> Result<Reply, ClientError> {
        let mut chunk = [0u8; 65536];
        loop {
            if let Some(reply) = self.decoder.next_message()? {
                return Ok(reply);
            }
            let count = match self.stream.read(&mut chunk) {
                Ok(0) => return Err(ClientError::Closed),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.lost(error)),
            };
            self.decoder.feed(chunk.get(..count).unwrap_or_default());
        }
    }

    fn lost(&self, error: io::Error) -> ClientError {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => ClientError::Timeout(self.timeout),
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof => {
                ClientError::Closed
            }
            _ => ClientError::Io(error),
        }
    }
}

fn unexpected(reply: &Reply, wanted: &'static str) -> ClientError {
    ClientError::Unexpected { got: reply.name(), wanted }
}

/// The pages of a dump. Ends after the first error.
#[derive(Debug)]
pub struct Pages<'a> {
    client: &'a mut Client,
    table: Table,
    after: Option<Cursor>,
    finished: bool,
}

impl Iterator for Pages<'_> {
    type Item = Result<Page, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.finished {
            return None;
        }
        self.finished = true;
        let page = match self.client.call(&Request::Dump { table: self.table, after: self.after }) {
            Ok(Reply::Page(page)) => page,
            Ok(other) => return Some(Err(unexpected(&other, "page"))),
            Err(error) => return Some(Err(error)),
        };
        // A cursor that does not move would loop for ever.
        self.finished = page.next.is_none() || page.next == self.after;
        self.after = page.next;
        Some(Ok(page))
    }
}

//! A daemon in a thread: answers on a real socket what a test has put into it.

use std::io::{Read, Write};
use std::net::IpAddr;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use api::{
    ApiError, Cursor, Decoder, DropStats, ErrorCode, Explanation, FlowTableInfo, Lookup,
    MemoryStats, Page, Reply, Request, Rows, ServerHello, Table, VrouterInfo, encode,
};

/// What the daemon has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Content {
    /// Rows of any kinds.
    pub(crate) rows: Vec<Rows>,
    /// Drop counters, of everything.
    pub(crate) drops: DropStats,
    /// Limits and settings.
    pub(crate) vrouter: VrouterInfo,
    /// Objects in memory.
    pub(crate) memory: MemoryStats,
    /// Text about itself.
    pub(crate) text: String,
    /// The flow table as a whole.
    pub(crate) flow_table: FlowTableInfo,
    /// What becomes of packets.
    pub(crate) explanation: Option<Explanation>,
    /// The answer to a lookup that finds nothing (not found if absent) and to a change by hand (done if absent).
    pub(crate) missing: Option<ErrorCode>,
    /// Rows in a page; 0 is all.
    pub(crate) page: usize,
}

/// A running daemon, ended when it is dropped.
pub(crate) struct Daemon {
    directory: PathBuf,
    requests: Receiver<Request>,
    thread: Option<JoinHandle<()>>,
}

impl Daemon {
    /// Starts one on a socket of its own.
    pub(crate) fn start(content: Content) -> Daemon {
        let directory = fresh_directory();
        let listener =
            UnixListener::bind(directory.join(api::SOCKET_NAME)).expect("a socket can be bound");
        let (sender, requests) = channel();
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.expect("a connection can be accepted");
                if !serve(stream, &content, &sender) {
                    return;
                }
            }
        });
        Daemon { directory, requests, thread: Some(thread) }
    }

    /// Runs a tool against it.
    pub(crate) fn run(&self, tool: &str, arguments: &[&str]) -> Output {
        run(tool, &self.directory, arguments)
    }

    /// What was asked so far, `Hello` left out.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.try_iter().collect()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // A connection that says nothing ends the thread.
        drop(UnixStream::connect(self.directory.join(api::SOCKET_NAME)));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// A new empty directory.
pub(crate) fn fresh_directory() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("cli-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&path).expect("the temporary directory can be written");
    path
}

/// Runs a tool against a socket directory.
pub(crate) fn run(tool: &str, directory: &Path, arguments: &[&str]) -> Output {
    let mut command = assert_cmd::Command::new(assert_cmd::cargo::cargo_bin(tool));
    command.env("VROUTER_SOCK_DIR", directory).env("TZ", "UTC").args(arguments);
    command.output().expect("the tool can be run")
}

/// Serves one connection; whether it said anything.
fn serve(mut stream: UnixStream, content: &Content, requests: &Sender<Request>) -> bool {
    let mut decoder = Decoder::new();
    let mut chunk = [0; 4096];
    let mut spoken = false;
    loop {
        while let Some(request) =
            decoder.next_message::<Request>().expect("tools send whole requests")
        {
            spoken = true;
            let reply = content.answer(&request);
            if !matches!(request, Request::Hello(_)) {
                let _ = requests.send(request);
            }
            let mut bytes = Vec::new();
            encode(&reply, &mut bytes).expect("replies are small");
            if stream.write_all(&bytes).is_err() {
                return spoken;
            }
        }
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return spoken,
            Ok(count) => decoder.feed(&chunk[..count]),
        }
    }
}

impl Content {
    fn answer(&self, request: &Request) -> Reply {
        match request {
            Request::Hello(hello) => match api::VERSIONS.agree(hello.versions) {
                Ok(version) => Reply::Hello(ServerHello {
                    version,
                    server: "fake".to_owned(),
                    instance: 1,
                    generation: 1,
                }),
                Err(refusal) => Reply::Error(refusal),
            },
            Request::Dump { table, after } => self.dump(*table, *after),
            Request::Get(lookup) => match self.find(lookup) {
                Some(rows) => Reply::Page(Page { rows, next: None, generation: 1 }),
                None => {
                    let code = self.missing.unwrap_or(ErrorCode::NotFound);
                    Reply::Error(ApiError::new(code, "the object", "does not exist"))
                }
            },
            Request::Drops { .. } => Reply::Drops(self.drops.clone()),
            Request::Vrouter => Reply::Vrouter(self.vrouter.clone()),
            Request::FlowTable | Request::FlushFlows => Reply::FlowTable(self.flow_table.clone()),
            Request::Explain { .. } | Request::Trace { .. } => match &self.explanation {
                Some(explanation) => Reply::Explanation(explanation.clone()),
                None => Reply::Error(ApiError::not_found("vif 9")),
            },
            Request::Memory => Reply::Memory(self.memory.clone()),
            Request::Describe(_) => Reply::Text(self.text.clone()),
            Request::Operate(_) | Request::Set { .. } if self.missing.is_some() => {
                let code = self.missing.unwrap_or(ErrorCode::NotFound);
                Reply::Error(ApiError::new(code, "the object", "is refused"))
            }
            _ => Reply::Done { generation: 1 },
        }
    }

    fn dump(&self, table: Table, after: Option<Cursor>) -> Reply {
        let start = match after {
            Some(Cursor::Index(start)) => start as usize,
            _ => 0,
        };
        let all = self.rows.iter().find(|rows| {
            matches!(
                (rows, table),
                (Rows::Vif(_), Table::Vif { .. })
                    | (Rows::NextHop(_), Table::NextHop)
                    | (Rows::Route(_), Table::Inet { .. } | Table::Inet6 { .. })
                    | (Rows::Bridge(_), Table::Bridge { .. })
                    | (Rows::Label(_), Table::Label)
                    | (Rows::Vni(_), Table::Vni)
                    | (Rows::Mirror(_), Table::Mirror)
                    | (Rows::ForwardingClass(_), Table::ForwardingClass)
                    | (Rows::QosMap(_), Table::QosMap)
                    | (Rows::Vrf(_), Table::Vrf)
                    | (Rows::VrfStats(_), Table::VrfStats)
                    | (Rows::DropLog(_), Table::DropLog { .. })
                    | (Rows::Flow(_), Table::Flow)
            )
        });
        let Some(all) = all else {
            return Reply::Page(Page { rows: Rows::Label(Vec::new()), next: None, generation: 1 });
        };
        let size = if self.page == 0 { all.len() } else { self.page };
        let end = (start + size).min(all.len());
        let rows = match all {
            Rows::Vif(rows) => Rows::Vif(rows[start..end].to_vec()),
            Rows::NextHop(rows) => Rows::NextHop(rows[start..end].to_vec()),
            Rows::Route(rows) => Rows::Route(rows[start..end].to_vec()),
            Rows::Bridge(rows) => Rows::Bridge(rows[start..end].to_vec()),
            Rows::Label(rows) => Rows::Label(rows[start..end].to_vec()),
            Rows::Vni(rows) => Rows::Vni(rows[start..end].to_vec()),
            Rows::Mirror(rows) => Rows::Mirror(rows[start..end].to_vec()),
            Rows::ForwardingClass(rows) => Rows::ForwardingClass(rows[start..end].to_vec()),
            Rows::QosMap(rows) => Rows::QosMap(rows[start..end].to_vec()),
            Rows::Vrf(rows) => Rows::Vrf(rows[start..end].to_vec()),
            Rows::VrfStats(rows) => Rows::VrfStats(rows[start..end].to_vec()),
            Rows::DropLog(rows) => Rows::DropLog(rows[start..end].to_vec()),
            Rows::Flow(rows) => Rows::Flow(rows[start..end].to_vec()),
        };
        let next = (end < all.len()).then(|| Cursor::Index(u32::try_from(end).expect("few rows")));
        Reply::Page(Page { rows, next, generation: 1 })
    }

    fn find(&self, lookup: &Lookup) -> Option<Rows> {
        let asked = match lookup {
            Lookup::Inet { address, .. } => Some(IpAddr::V4(*address)),
            Lookup::Inet6 { address, .. } => Some(IpAddr::V6(*address)),
            _ => None,
        };
        self.rows.iter().find_map(|rows| match (rows, lookup) {
            (Rows::Vif(rows), Lookup::Vif { id, .. }) => {
                one(rows, |row| row.id == *id).map(Rows::Vif)
            }
            (Rows::Vif(rows), Lookup::VifByOsIndex { os_index, .. }) => {
                one(rows, |row| row.os_index == *os_index).map(Rows::Vif)
            }
            (Rows::NextHop(rows), Lookup::NextHop(id)) => {
                one(rows, |row| row.id == *id).map(Rows::NextHop)
            }
            (Rows::Route(rows), Lookup::Inet { .. } | Lookup::Inet6 { .. }) => {
                // The route that was asked for, or the only one there is.
                let same = one(rows, |row| asked == Some(row.address));
                same.or_else(|| one(rows, |_| true)).map(Rows::Route)
            }
            (Rows::Bridge(rows), Lookup::Bridge { mac, .. }) => {
                one(rows, |row| row.mac == *mac).map(Rows::Bridge)
            }
            (Rows::Flow(rows), Lookup::Flow(index)) => {
                one(rows, |row| row.index == *index).map(Rows::Flow)
            }
            (Rows::Label(rows), Lookup::Label(label)) => {
                one(rows, |row| row.label == *label).map(Rows::Label)
            }
            (Rows::Vni(rows), Lookup::Vni(vni)) => one(rows, |row| row.vni == *vni).map(Rows::Vni),
            (Rows::Mirror(rows), Lookup::Mirror(index)) => {
                one(rows, |row| u32::from(row.index) == *index).map(Rows::Mirror)
            }
            (Rows::ForwardingClass(rows), Lookup::ForwardingClass(id)) => {
                one(rows, |row| u32::from(row.id) == *id).map(Rows::ForwardingClass)
            }
            (Rows::QosMap(rows), Lookup::QosMap(index)) => {
                one(rows, |row| u32::from(row.index) == *index).map(Rows::QosMap)
            }
            (Rows::Vrf(rows), Lookup::Vrf(id)) => {
                one(rows, |row| u32::from(row.id.0) == *id).map(Rows::Vrf)
            }
            (Rows::VrfStats(rows), Lookup::VrfStats(id)) => {
                one(rows, |row| row.vrf.is_some_and(|vrf| u32::from(vrf.0) == *id))
                    .map(Rows::VrfStats)
            }
            _ => None,
        })
    }
}

fn one<T: Clone>(rows: &[T], wanted: impl Fn(&T) -> bool) -> Option<Vec<T>> {
    rows.iter().find(|row| wanted(row)).map(|row| vec![row.clone()])
}

//! TCP of BGP peers: feeds bytes to the control, carries its bytes out.
//!
//! Each connection has a reading and a writing task. Closing drops the writer's channel: what was queued goes out first.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use proto::bgp::{ConnectionId, Way};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tracing::warn;

use crate::control::Input;

/// How long a call may take.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause before taking calls is tried again.
const LISTEN_PAUSE: Duration = Duration::from_secs(1);

/// What the network tells.
#[derive(Debug)]
pub(crate) enum Event {
    /// A peer called.
    Accepted(IpAddr, TcpStream),
    /// Our call was answered, or not.
    Dialed(IpAddr, io::Result<TcpStream>),
    /// Bytes of a peer.
    Received(IpAddr, ConnectionId, Vec<u8>),
    /// A connection broke.
    Closed(IpAddr, ConnectionId),
}

/// The connections of all peers.
pub(crate) struct Connections {
    events: mpsc::Sender<Event>,
    writers: HashMap<(IpAddr, ConnectionId), mpsc::UnboundedSender<Vec<u8>>>,
    next: u64,
}

impl Connections {
    pub(crate) fn new(events: mpsc::Sender<Event>) -> Connections {
        Connections { events, writers: HashMap::new(), next: 0 }
    }

    /// Takes calls at an address from now on.
    pub(crate) fn listen(&self, local: IpAddr, port: u16) {
        tokio::spawn(listen(local, port, self.events.clone()));
    }

    /// Calls a peer from an address of ours; the answer comes as an event.
    pub(crate) fn dial(&self, local: IpAddr, peer: IpAddr, port: u16) {
        let events = self.events.clone();
        tokio::spawn(async move {
            let call = tokio::time::timeout(DIAL_TIMEOUT, connect(local, peer, port));
            let result = call.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            let _ = events.send(Event::Dialed(peer, result)).await;
        });
    }

    pub(crate) fn send(&self, peer: IpAddr, id: ConnectionId, bytes: Vec<u8>) {
        if let Some(writer) = self.writers.get(&(peer, id)) {
            // A writer that is gone has told of it through its reader.
            let _ = writer.send(bytes);
        }
    }

    pub(crate) fn close(&mut self, peer: IpAddr, id: ConnectionId) {
        self.writers.remove(&(peer, id));
    }

    /// Turns what the network tells into what the control understands.
    pub(crate) fn input(&mut self, event: Event) -> Input {
        match event {
            Event::Accepted(peer, stream) => {
                let id = self.open(peer, stream);
                Input::Connected(peer, id, Way::In)
            }
            Event::Dialed(peer, Ok(stream)) => {
                let id = self.open(peer, stream);
                Input::Connected(peer, id, Way::Out)
            }
            Event::Dialed(peer, Err(_)) => Input::DialFailed(peer),
            Event::Received(peer, id, bytes) => Input::Received(peer, id, bytes),
            Event::Closed(peer, id) => {
                self.close(peer, id);
                Input::Closed(peer, id)
            }
        }
    }

    fn open(&mut self, peer: IpAddr, stream: TcpStream) -> ConnectionId {
        let id = ConnectionId(self.next);
        self.next += 1;
        // Updates are packed already.
        let _ = stream.set_nodelay(true);
        let (reader, writer) = stream.into_split();
        let (sender, queue) = mpsc::unbounded_channel();
        let reading = tokio::spawn(read(reader, peer, id, self.events.clone()));
        tokio::spawn(async move {
            write(writer, queue).await;
            reading.abort();
        });
        self.writers.insert((peer, id), sender);
        id
    }
}

/// Takes calls for ever. An address that is not there yet is waited for.
async fn listen(local: IpAddr, port: u16, events: mpsc::Sender<Event>) {
    let listener = bind(local, port).await;
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                let accepted = Event::Accepted(from.ip().to_canonical(), stream);
                if events.send(accepted).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                warn!("bgp: accept: {error}");
                tokio::time::sleep(LISTEN_PAUSE).await;
            }
        }
    }
}

async fn bind(local: IpAddr, port: u16) -> TcpListener {
    let mut told = false;
    loop {
        match TcpListener::bind((local, port)).await {
            Ok(listener) => return listener,
            Err(error) if !told => {
                warn!("bgp: cannot listen on {local} port {port}: {error}; trying on");
                told = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(LISTEN_PAUSE).await;
    }
}

async fn connect(local: IpAddr, peer: IpAddr, port: u16) -> io::Result<TcpStream> {
    let socket = match peer {
        IpAddr::V4(_) => TcpSocket::new_v4()?,
        IpAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.bind(SocketAddr::from((local, 0)))?;
    socket.connect(SocketAddr::from((peer, port))).await
}

async fn read(
    mut reader: OwnedReadHalf,
    peer: IpAddr,
    id: ConnectionId,
    events: mpsc::Sender<Event>,
) {
    let mut buffer = vec![0; 65536];
    while let Ok(count @ 1..) = reader.read(&mut buffer).await {
        let bytes = buffer.iter().take(count).copied().collect();
        if events.send(Event::Received(peer, id, bytes)).await.is_err() {
            return;
        }
    }
    let _ = events.send(Event::Closed(peer, id)).await;
}

async fn write(mut writer: OwnedWriteHalf, mut queue: mpsc::UnboundedReceiver<Vec<u8>>) {
    while let Some(bytes) = queue.recv().await {
        if writer.write_all(&bytes).await.is_err() {
            // The reader notices too, and tells; wait until the control has closed.
            while queue.recv().await.is_some() {}
            return;
        }
    }
    let _ = writer.shutdown().await;
}

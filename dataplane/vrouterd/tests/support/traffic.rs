//! Traffic between namespaces, by the kernel's own stack.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::lab;

/// Pings; gives how many of `count` were answered.
pub(crate) fn ping(namespace: &str, to: IpAddr, count: u32, interval: &str) -> u32 {
    let to = to.to_string();
    let count = count.to_string();
    let args = ["-n", "-q", "-c", &count, "-i", interval, "-W", "1", &to];
    let output = lab::inside(namespace, "ping", &args);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let received = text.split(", ").find_map(|part| part.strip_suffix(" received"));
    received.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Runs something in a thread that entered a namespace.
pub(crate) fn within<T: Send + 'static>(
    namespace: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let file = File::open(lab::path(namespace)).unwrap();
    std::thread::spawn(move || {
        use std::os::fd::AsFd;
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        run()
    })
}

/// Sends `bytes` over TCP from one namespace to an address in another, and checks each of them. Gives bytes a second.
pub(crate) fn tcp(from: &str, to: &str, address: IpAddr, bytes: usize) -> f64 {
    let (ready, is_ready) = std::sync::mpsc::channel();
    let server = within(to, move || {
        let listener = TcpListener::bind((address, 0)).unwrap();
        ready.send(listener.local_addr().unwrap()).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        receive(&mut stream, bytes);
    });
    let socket: SocketAddr = is_ready.recv_timeout(Duration::from_secs(5)).unwrap();
    let client = within(from, move || {
        let start = std::time::Instant::now();
        let mut stream = TcpStream::connect_timeout(&socket, Duration::from_secs(5)).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
        send(&mut stream, bytes);
        // The peer closes once it has it all.
        assert_eq!(stream.read(&mut [0u8; 1]).unwrap(), 0);
        bytes as f64 / start.elapsed().as_secs_f64()
    });
    let rate = client.join().expect("the sender got through");
    server.join().expect("the receiver got every byte");
    rate
}

/// The byte at a position: never a period of two to the n, so that swapped segments show.
fn byte_at(position: usize) -> u8 {
    u8::try_from(position % 251).unwrap()
}

fn send(stream: &mut TcpStream, bytes: usize) {
    let pattern: Vec<u8> = (0..251 * 256).map(byte_at).collect();
    let mut sent = 0;
    while sent < bytes {
        let length = pattern.len().min(bytes - sent);
        stream.write_all(&pattern[..length]).unwrap();
        sent += length;
    }
    stream.shutdown(std::net::Shutdown::Write).unwrap();
}

fn receive(stream: &mut TcpStream, bytes: usize) {
    let mut buffer = vec![0u8; 65536];
    let mut got = 0;
    loop {
        let count = stream.read(&mut buffer).unwrap();
        if count == 0 {
            break;
        }
        let wrong = buffer[..count].iter().enumerate().find(|(i, b)| **b != byte_at(got + i));
        assert!(wrong.is_none(), "byte {} differs", got + wrong.map_or(0, |(i, _)| i));
        got += count;
    }
    assert_eq!(got, bytes);
}

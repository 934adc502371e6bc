//! The client against a server in a thread: every way to fail has its own error.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread;

use api::{
    ApiError, Client, ClientError, Cursor, Decoder, ErrorCode, LabelInfo, NhId, Page, Reply,
    Request, Rows, ServerHello, Table, encode,
};

fn directory(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("api-client-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// Serves one connection; ends it when the function gives no reply.
fn serve(mut stream: UnixStream, mut answer: impl FnMut(Request) -> Option<Reply>) {
    let mut decoder = Decoder::new();
    let mut chunk = [0; 4096];
    loop {
        while let Some(request) = decoder.next_message::<Request>().unwrap() {
            let Some(reply) = answer(request) else { return };
            let mut bytes = Vec::new();
            encode(&reply, &mut bytes).unwrap();
            for byte in bytes.chunks(3) {
                stream.write_all(byte).unwrap();
            }
        }
        match stream.read(&mut chunk).unwrap() {
            0 => return,
            count => decoder.feed(&chunk[..count]),
        }
    }
}

fn hello() -> Reply {
    Reply::Hello(ServerHello { version: 1, server: "test".to_owned(), instance: 9, generation: 4 })
}

fn pair(
    answer: impl FnMut(Request) -> Option<Reply> + Send + 'static,
) -> (UnixStream, thread::JoinHandle<()>) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (ours, thread::spawn(move || serve(theirs, answer)))
}

#[test]
fn a_missing_and_a_dead_socket_are_told_apart() {
    let path = directory("dead");
    assert!(matches!(Client::connect(&path, "test"), Err(ClientError::NoSocket(_))));
    drop(UnixListener::bind(path.join(api::SOCKET_NAME)).unwrap());
    assert!(matches!(Client::connect(&path, "test"), Err(ClientError::NotListening(_))));
    std::fs::remove_dir_all(path).unwrap();
}

#[test]
fn pages_are_followed_to_the_end() {
    let (stream, server) = pair(|request| match request {
        Request::Hello(_) => Some(hello()),
        Request::Dump { table: Table::Label, after } => {
            let first = match after {
                None => 16,
                Some(Cursor::Index(last)) => last + 1,
                Some(_) => return None,
            };
            let rows =
                (first..first + 2).map(|label| LabelInfo { label, next_hop: NhId(1) }).collect();
            let next = (first < 20).then_some(Cursor::Index(first + 1));
            Some(Reply::Page(Page { rows: Rows::Label(rows), next, generation: 1 }))
        }
        _ => None,
    });
    let mut client = Client::over(stream, "test").unwrap();
    assert_eq!(client.server().instance, 9);
    let mut labels = Vec::new();
    for page in client.pages(Table::Label) {
        let Rows::Label(rows) = page.unwrap().rows else { panic!("labels were asked for") };
        labels.extend(rows.iter().map(|row| row.label));
    }
    assert_eq!(labels, [16, 17, 18, 19, 20, 21]);
    drop(client);
    server.join().unwrap();
}

#[test]
fn refusal_version_and_death_are_told_apart() {
    let (stream, server) = pair(|request| match request {
        Request::Hello(_) => Some(hello()),
        Request::Barrier => Some(Reply::Done { generation: 5 }),
        Request::Sweep { .. } => {
            Some(Reply::Error(ApiError::new(ErrorCode::Invalid, "", "no epoch was begun")))
        }
        _ => None,
    });
    let mut client = Client::over(stream, "test").unwrap();
    assert_eq!(client.barrier().unwrap(), 5);
    let refusal = client.sweep(api::Epoch(1)).unwrap_err();
    assert_eq!((refusal.to_string().as_str(), refusal.errno()), ("no epoch was begun", 22));
    assert!(!refusal.is_connection_lost());
    assert!(matches!(client.info(), Err(ClientError::Closed)));
    server.join().unwrap();

    let (stream, server) = pair(|request| match request {
        Request::Hello(hello) => {
            let versions = api::VersionRange { min: 7, max: 8 };
            Some(Reply::Error(versions.agree(hello.versions).unwrap_err()))
        }
        _ => None,
    });
    let error = Client::over(stream, "test").unwrap_err();
    assert!(matches!(error, ClientError::Version(_)), "{error}");
    assert!(error.to_string().contains("versions 7 to 8"), "{error}");
    server.join().unwrap();
}

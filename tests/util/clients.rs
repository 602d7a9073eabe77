// The clients that try the guide's steps out: included by its doctests, as hidden lines. They
// give up where they must wait too long, so that a step that fails ends. No `//!` here: an
// included file has no header of its own.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

/// Nothing that a step does takes nearly so long.
pub const LIMIT: Duration = Duration::from_secs(20);

/// How long silence is listened to. Where a step is shown to be silent it is so for ever: a
/// slow machine makes no difference.
const SILENCE: Duration = Duration::from_millis(100);

/// A listener on a free port of this machine, and its address.
pub fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Runs a server beside the clients. What it returns comes when it has ended.
pub fn start<R: Send + 'static>(server: impl FnOnce() -> R + Send + 'static) -> Receiver<R> {
    let (end, ended) = mpsc::channel();
    thread::spawn(move || end.send(server()));
    ended
}

/// Waits for a server to end.
#[track_caller]
pub fn ended<R>(server: &Receiver<R>) -> R {
    server.recv_timeout(LIMIT).expect("the server does not end")
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    client
}

#[track_caller]
pub fn say(client: &mut TcpStream, words: impl AsRef<[u8]>) {
    client.write_all(words.as_ref()).unwrap();
}

/// Reads exactly these words, in however many pieces they come.
#[track_caller]
pub fn expect(client: &mut TcpStream, words: impl AsRef<[u8]>) {
    let mut heard = vec![0; words.as_ref().len()];
    client.read_exact(&mut heard).unwrap();
    let (heard, words) = (heard.escape_ascii(), words.as_ref().escape_ascii());
    assert_eq!(heard.to_string(), words.to_string());
}

/// Reads the end of input.
#[track_caller]
pub fn expect_end(client: &mut TcpStream) {
    assert_eq!(client.read(&mut [0]).unwrap(), 0, "something came");
}

/// Whether nothing comes.
pub fn is_silent(client: &mut TcpStream) -> bool {
    client.set_read_timeout(Some(SILENCE)).unwrap();
    let peeked = client.peek(&mut [0]);
    client.set_read_timeout(Some(LIMIT)).unwrap();
    peeked.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
}

/// The tutorial's client, from `connect` to `close`.
#[track_caller]
pub fn visit(address: SocketAddr) {
    let mut client = connect(address);
    expect(&mut client, "Welcome!");
    for name in ["Michael", "Tracy", "Sarah"] {
        say(&mut client, name);
        expect(&mut client, format!("Hello, {name}!"));
    }
    say(&mut client, "exit");
    expect_end(&mut client);
}

// Clients for the guide's servers, included by its doctests as hidden lines. Every wait has a
// timeout, so that a failing step ends. No `//!` here: a file that is included cannot have it.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

/// After this long a wait fails. Nothing that a step does takes nearly as long.
pub const TIMEOUT: Duration = Duration::from_secs(20);

/// A server that sends nothing for this long is silent. The silent servers of the guide stay so
/// forever, so a slow machine makes no difference.
const SILENCE: Duration = Duration::from_millis(100);

/// A listener on a free loopback port, and its address.
pub fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Runs a server on a thread of its own. The receiver gets what it returns.
pub fn start<R: Send + 'static>(server: impl FnOnce() -> R + Send + 'static) -> Receiver<R> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(server()));
    receiver
}

/// Waits until a server returns.
#[track_caller]
pub fn join<R>(server: &Receiver<R>) -> R {
    server.recv_timeout(TIMEOUT).expect("the server does not return")
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(TIMEOUT)).unwrap();
    client
}

#[track_caller]
pub fn send(client: &mut TcpStream, bytes: impl AsRef<[u8]>) {
    client.write_all(bytes.as_ref()).unwrap();
}

/// Reads exactly these bytes.
#[track_caller]
pub fn expect(client: &mut TcpStream, bytes: impl AsRef<[u8]>) {
    let mut received = vec![0; bytes.as_ref().len()];
    client.read_exact(&mut received).unwrap();
    let (received, expected) = (received.escape_ascii(), bytes.as_ref().escape_ascii());
    assert_eq!(received.to_string(), expected.to_string());
}

#[track_caller]
pub fn expect_eof(client: &mut TcpStream) {
    assert_eq!(client.read(&mut [0]).unwrap(), 0, "a byte instead of EOF");
}

/// Whether the server sends nothing.
pub fn is_silent(client: &mut TcpStream) -> bool {
    client.set_read_timeout(Some(SILENCE)).unwrap();
    let peeked = client.peek(&mut [0]);
    client.set_read_timeout(Some(TIMEOUT)).unwrap();
    peeked.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
}

/// Runs the tutorial's client, from `connect` to `close`.
#[track_caller]
pub fn run_client(address: SocketAddr) {
    let mut client = connect(address);
    expect(&mut client, "Welcome!");
    for name in ["Michael", "Tracy", "Sarah"] {
        send(&mut client, name);
        expect(&mut client, format!("Hello, {name}!"));
    }
    send(&mut client, "exit");
    expect_eof(&mut client);
}

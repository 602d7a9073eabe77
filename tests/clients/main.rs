//! The TCP and the UDP client against correct servers and many faulty ones.
//!
//! Each server is a thread that runs one script on its own port. No success depends on timing:
//! [`TIMEOUT`] only ends a test that hangs, and a timeout under test runs to its end.

mod tcp_client;
mod udp_client;
#[path = "../util/mod.rs"]
mod util;

use helloop::protocol::greeting::Framing;
use helloop::testing::client::{Error, tcp, udp};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use util::TIMEOUT;

/// A timeout that a test waits for.
pub(crate) const SHORT_TIMEOUT: Duration = Duration::from_millis(300);

/// The tutorial's names.
pub(crate) const NAMES: [&[u8]; 3] = [b"Michael", b"Tracy", b"Sarah"];

pub(crate) fn arguments(names: &[&[u8]]) -> impl Iterator<Item = Result<Vec<u8>, Error>> {
    names.iter().map(|name| Ok(name.to_vec()))
}

/// The message of an error, which must be one line without control characters.
pub(crate) fn message_of(error: &Error) -> String {
    let message = error.to_string();
    assert!(!message.contains(char::is_control), "one line: {message:?}");
    message
}

/// Runs a script as the server of one connection.
pub(crate) fn tcp_server<T: Send + 'static>(
    script: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (String, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream.set_nodelay(true).unwrap();
        script(stream)
    });
    (to, server)
}

/// Receives the next message of the client, in chunk framing; empty at EOF.
pub(crate) fn receive(stream: &mut TcpStream) -> Vec<u8> {
    let mut buffer = [0; 2_048];
    let count = stream.read(&mut buffer).unwrap();
    buffer[..count].to_vec()
}

/// Serves one client as the tutorial's server does, and returns its messages.
pub(crate) fn serve_chunks(mut stream: TcpStream) -> Vec<Vec<u8>> {
    let mut received = Vec::new();
    stream.write_all(b"Welcome!").unwrap();
    loop {
        let name = receive(&mut stream);
        received.push(name.clone());
        if name.is_empty() || name == b"exit" {
            return received;
        }
        stream
            .write_all(&[b"Hello, ", &name[..], b"!"].concat())
            .unwrap();
    }
}

/// A server that sends the first reply at once and one more per message, then shuts down.
pub(crate) fn replying_server(replies: &'static [&'static [u8]]) -> (String, JoinHandle<()>) {
    tcp_server(move |mut stream| {
        for (index, reply) in replies.iter().enumerate() {
            if index > 0 {
                receive(&mut stream);
            }
            stream.write_all(reply).unwrap();
        }
        stream.shutdown(Shutdown::Write).unwrap();
        // Reads until EOF: closing with unread input would reset the connection.
        let _ = io::copy(&mut stream, &mut io::sink());
    })
}

pub(crate) fn greet_tcp(
    to: &str,
    framing: Framing,
    names: &[&[u8]],
) -> (Vec<u8>, Result<(), Error>) {
    greet_tcp_within(TIMEOUT, to, framing, names)
}

pub(crate) fn greet_tcp_within(
    timeout: Duration,
    to: &str,
    framing: Framing,
    names: &[&[u8]],
) -> (Vec<u8>, Result<(), Error>) {
    let options = tcp::Options {
        to: to.to_owned(),
        framing,
        timeout,
    };
    let mut out = Vec::new();
    let result = tcp::run(&options, arguments(names), &mut out, false);
    (out, result)
}

pub(crate) fn udp_server<T: Send + 'static>(
    script: impl FnOnce(UdpSocket) -> T + Send + 'static,
) -> (String, JoinHandle<T>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    let to = socket.local_addr().unwrap().to_string();
    (to, thread::spawn(move || script(socket)))
}

pub(crate) fn receive_datagram(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 2_048];
    let (count, from) = socket.recv_from(&mut buffer).unwrap();
    (buffer[..count].to_vec(), from)
}

pub(crate) fn reply(socket: &UdpSocket, name: &[u8], to: SocketAddr) {
    let reply = [b"Hello, ", name, b"!"].concat();
    socket.send_to(&reply, to).unwrap();
}

/// Answers this many datagrams as the tutorial's UDP server does, and returns their names.
pub(crate) fn serve_datagrams(socket: &UdpSocket, datagrams: usize) -> Vec<Vec<u8>> {
    (0..datagrams)
        .map(|_| {
            let (name, from) = receive_datagram(socket);
            reply(socket, &name, from);
            name
        })
        .collect()
}

pub(crate) fn greet_udp(to: &str, wait: Duration, names: &[&[u8]]) -> (Vec<u8>, Result<(), Error>) {
    greet_udp_in_tries(3, to, wait, names)
}

pub(crate) fn greet_udp_in_tries(
    tries: u32,
    to: &str,
    wait: Duration,
    names: &[&[u8]],
) -> (Vec<u8>, Result<(), Error>) {
    let options = udp::Options {
        to: to.to_owned(),
        tries,
        wait,
    };
    let mut out = Vec::new();
    let result = udp::run(&options, arguments(names), &mut out, false);
    (out, result)
}

#[test]
fn an_invalid_address_is_an_error_with_an_example() {
    for to in [
        "",
        "127.0.0.1",
        "127.0.0.1:99999",
        "[::1:9999",
        "no such host.invalid:1",
    ] {
        for error in [
            greet_tcp(to, Framing::Chunk, &[]).1.unwrap_err(),
            greet_udp(to, TIMEOUT, &[]).1.unwrap_err(),
        ] {
            assert!(matches!(error, Error::Address { .. }), "{error:?}");
            assert!(message_of(&error).contains("HOST:PORT"), "{error}");
        }
    }
}

#[test]
fn a_host_name_reaches_the_address_that_is_served() {
    let (to, server) = tcp_server(serve_chunks);
    let to = to.replace("127.0.0.1", "localhost");
    greet_tcp(&to, Framing::Chunk, &[b"Michael"]).1.unwrap();
    server.join().unwrap();

    let (to, server) = udp_server(|socket| serve_datagrams(&socket, 2));
    let to = to.replace("127.0.0.1", "localhost");
    greet_udp(&to, TIMEOUT, &[b"Michael", b"Tracy"]).1.unwrap();
    server.join().unwrap();
}

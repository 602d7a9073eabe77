//! The TCP and the UDP client against servers that behave, and many that do not.
//!
//! Each server is a thread with one script, on a port of its own. No client's success depends on
//! time: [`PATIENCE`] only ends a test that hangs, and the time-outs that are tested are
//! awaited in full.

mod tcp_client;
mod udp_client;

use helloop::client::{Error, names, tcp, udp};
use helloop::protocol::greeting::Framing;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Far more than any of this takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A time-out that is to be reached.
pub(crate) const SOON: Duration = Duration::from_millis(300);

pub(crate) fn given(names: &[&[u8]]) -> impl Iterator<Item = Result<Vec<u8>, Error>> {
    names::given(names.iter().map(|name| name.to_vec()).collect()).unwrap()
}

pub(crate) fn text(error: &Error) -> String {
    let text = error.to_string();
    assert!(!text.contains(char::is_control), "one line: {text:?}");
    text
}

/// Runs a script as the server of one connection.
pub(crate) fn tcp_server<T: Send + 'static>(
    script: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (String, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        script(stream)
    });
    (to, server)
}

/// What the client sends next, in chunk framing.
pub(crate) fn hear(stream: &mut TcpStream) -> Vec<u8> {
    let mut buffer = [0; 2_048];
    let count = stream.read(&mut buffer).unwrap();
    buffer[..count].to_vec()
}

/// The tutorial's server for one client.
pub(crate) fn serve_chunks(mut stream: TcpStream) -> Vec<Vec<u8>> {
    let mut heard = Vec::new();
    stream.write_all(b"Welcome!").unwrap();
    loop {
        let name = hear(&mut stream);
        heard.push(name.clone());
        if name.is_empty() || name == b"exit" {
            return heard;
        }
        stream
            .write_all(&[b"Hello, ", &name[..], b"!"].concat())
            .unwrap();
    }
}

/// A server that says these bytes to the client's every message, then closes.
pub(crate) fn say(replies: &'static [&'static [u8]]) -> (String, JoinHandle<()>) {
    tcp_server(move |mut stream| {
        for (turn, reply) in replies.iter().enumerate() {
            if turn > 0 {
                hear(&mut stream);
            }
            stream.write_all(reply).unwrap();
        }
        stream.shutdown(Shutdown::Write).unwrap();
        // To the client's end: closing on unread input would reset the connection.
        let _ = io::copy(&mut stream, &mut io::sink());
    })
}

pub(crate) fn greet_tcp(
    to: &str,
    framing: Framing,
    names: &[&[u8]],
) -> (Vec<u8>, Result<(), Error>) {
    greet_tcp_within(PATIENCE, to, framing, names)
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
    let result = tcp::run(&options, given(names), &mut out, false);
    (out, result)
}

pub(crate) fn udp_server<T: Send + 'static>(
    script: impl FnOnce(UdpSocket) -> T + Send + 'static,
) -> (String, JoinHandle<T>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let to = socket.local_addr().unwrap().to_string();
    (to, thread::spawn(move || script(socket)))
}

pub(crate) fn hear_datagram(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 2_048];
    let (count, from) = socket.recv_from(&mut buffer).unwrap();
    (buffer[..count].to_vec(), from)
}

pub(crate) fn reply(socket: &UdpSocket, name: &[u8], to: SocketAddr) {
    let reply = [b"Hello, ", name, b"!"].concat();
    socket.send_to(&reply, to).unwrap();
}

/// The tutorial's UDP server, for so many datagrams.
pub(crate) fn answer(socket: &UdpSocket, datagrams: usize) -> Vec<Vec<u8>> {
    (0..datagrams)
        .map(|_| {
            let (name, from) = hear_datagram(socket);
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
    let result = udp::run(&options, given(names), &mut out, false);
    (out, result)
}

#[test]
pub(crate) fn an_address_that_is_none_is_told() {
    for to in [
        "",
        "127.0.0.1",
        "127.0.0.1:99999",
        "[::1:9999",
        "no such host.invalid:1",
    ] {
        for error in [
            greet_tcp(to, Framing::Chunk, &[]).1.unwrap_err(),
            greet_udp(to, PATIENCE, &[]).1.unwrap_err(),
        ] {
            assert!(matches!(error, Error::Address { .. }), "{error:?}");
            assert!(text(&error).contains("HOST:PORT"), "{error}");
        }
    }
}

#[test]
pub(crate) fn a_host_name_reaches_the_one_of_its_addresses_that_serves() {
    let (to, server) = tcp_server(serve_chunks);
    let to = to.replace("127.0.0.1", "localhost");
    greet_tcp(&to, Framing::Chunk, &[b"Michael"]).1.unwrap();
    server.join().unwrap();

    let (to, server) = udp_server(|socket| answer(&socket, 2));
    let to = to.replace("127.0.0.1", "localhost");
    greet_udp(&to, PATIENCE, &[b"Michael", b"Tracy"]).1.unwrap();
    server.join().unwrap();
}

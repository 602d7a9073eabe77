//! The other ends of a server's sockets.

use super::LIMIT;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};

/// A connection whose reads and writes fail after [`LIMIT`].
#[track_caller]
pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, LIMIT)
        .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.set_write_timeout(Some(LIMIT)).unwrap();
    stream
}

/// A UDP socket of the loopback that sends to `server`, and hears nobody else.
#[track_caller]
pub fn udp(server: SocketAddr) -> UdpSocket {
    let here: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::LOCALHOST, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::LOCALHOST, 0).into(),
    };
    let socket = UdpSocket::bind(here).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket.connect(server).unwrap();
    socket
}

/// Reads so many bytes.
#[track_caller]
pub fn read_exactly(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    let mut filled = 0;
    while filled < count {
        match stream.read(&mut bytes[filled..]) {
            Ok(0) => panic!(
                "the connection ended after {:?}",
                String::from_utf8_lossy(&bytes[..filled])
            ),
            Ok(more) => filled += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!(
                "{error} after {:?}",
                String::from_utf8_lossy(&bytes[..filled])
            ),
        }
    }
    bytes
}

/// Reads up to the end; a reset is a failure.
#[track_caller]
pub fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Err(error) = stream.read_to_end(&mut bytes) {
        panic!("{error} after {:?}", String::from_utf8_lossy(&bytes));
    }
    bytes
}

/// Reads exactly this.
#[track_caller]
pub fn expect(stream: &mut TcpStream, wanted: &[u8]) {
    let got = read_exactly(stream, wanted.len());
    assert_eq!(
        String::from_utf8_lossy(&got),
        String::from_utf8_lossy(wanted)
    );
    assert_eq!(got, wanted);
}

/// Reads exactly this and then the end; a reset is a failure.
#[track_caller]
pub fn expect_last(stream: &mut TcpStream, wanted: &[u8]) {
    let got = read_to_end(stream);
    assert_eq!(
        String::from_utf8_lossy(&got),
        String::from_utf8_lossy(wanted)
    );
    assert_eq!(got, wanted);
}

/// Sends a message, and reads its reply.
#[track_caller]
pub fn ask(stream: &mut TcpStream, message: &[u8], reply: &[u8]) {
    stream.write_all(message).unwrap();
    expect(stream, reply);
}

/// Sends a datagram, and receives its reply.
#[track_caller]
pub fn ask_udp(socket: &UdpSocket, message: &[u8], reply: &[u8]) {
    socket.send(message).unwrap();
    assert_eq!(receive_udp(socket), reply, "to {message:?}");
}

/// Receives one datagram.
#[track_caller]
pub fn receive_udp(socket: &UdpSocket) -> Vec<u8> {
    let mut datagram = vec![0; 65_536];
    let length = loop {
        match socket.recv(&mut datagram) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            received => break received.expect("no datagram came"),
        }
    };
    datagram.truncate(length);
    datagram
}

/// So many clients, or as many as this process may have descriptors for: fewer are told of, and
/// never silent.
pub fn clients_at_most(wanted: usize) -> usize {
    const SPARE: u64 = 200; // what tests that run beside this one may have open
    let limit = helloop::net::system::raise_descriptor_limit().saturating_sub(SPARE);
    let clients = wanted.min(usize::try_from(limit).unwrap_or(wanted));
    if clients < wanted {
        println!("note: {clients} clients in place of {wanted}: the descriptor limit is {limit}");
    }
    clients
}

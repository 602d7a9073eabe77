//! Clients of a server's sockets.

use super::TIMEOUT;
use socket2::{Domain, SockRef, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

/// A connection whose reads and writes fail after [`TIMEOUT`].
#[track_caller]
pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, TIMEOUT)
        .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream.set_write_timeout(Some(TIMEOUT)).unwrap();
    stream
}

/// A TCP port that was free a moment ago. The system does not assign it again soon.
pub fn free_address() -> SocketAddr {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    free.local_addr().unwrap()
}

/// A TCP port that is bound and not listening, so that connects are refused.
pub fn refusing_port() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    socket.bind(&any.into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

/// A UDP socket on the loopback interface, connected to `server`.
#[track_caller]
pub fn udp(server: SocketAddr) -> UdpSocket {
    let local: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::LOCALHOST, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::LOCALHOST, 0).into(),
    };
    let socket = UdpSocket::bind(local).unwrap();
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    socket.connect(server).unwrap();
    socket
}

/// Reads exactly `count` bytes.
#[track_caller]
pub fn read_exactly(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    let mut filled = 0;
    while filled < count {
        match stream.read(&mut bytes[filled..]) {
            Ok(0) => panic!("EOF after {:?}", String::from_utf8_lossy(&bytes[..filled])),
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!(
                "{error} after {:?}",
                String::from_utf8_lossy(&bytes[..filled])
            ),
        }
    }
    bytes
}

/// Reads until EOF; a reset fails the test.
#[track_caller]
pub fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Err(error) = stream.read_to_end(&mut bytes) {
        panic!("{error} after {:?}", String::from_utf8_lossy(&bytes));
    }
    bytes
}

/// Reads exactly these bytes.
#[track_caller]
pub fn expect(stream: &mut TcpStream, expected: &[u8]) {
    let received = read_exactly(stream, expected.len());
    assert_bytes(&received, expected);
}

/// Reads exactly these bytes and then EOF; a reset fails the test.
#[track_caller]
pub fn expect_last(stream: &mut TcpStream, expected: &[u8]) {
    let received = read_to_end(stream);
    assert_bytes(&received, expected);
}

/// Asserts that both are equal, and shows them as text.
#[track_caller]
fn assert_bytes(received: &[u8], expected: &[u8]) {
    let (received, expected) = (received.escape_ascii(), expected.escape_ascii());
    assert_eq!(received.to_string(), expected.to_string());
}

/// Sends a message, and reads its reply.
#[track_caller]
pub fn ask(stream: &mut TcpStream, message: &[u8], reply: &[u8]) {
    stream.write_all(message).unwrap();
    expect(stream, reply);
}

/// Resets the connection: closes it with RST instead of FIN.
pub fn reset(stream: TcpStream) {
    let no_linger = Some(Duration::ZERO);
    SockRef::from(&stream).set_linger(no_linger).unwrap();
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
            received => break received.expect("no datagram arrived"),
        }
    };
    datagram.truncate(length);
    datagram
}

/// `wanted` clients, or as many as the descriptor limit allows, with a note on stdout.
pub fn clients_within_descriptor_limit(wanted: usize) -> usize {
    const SPARE_DESCRIPTORS: u64 = 200; // for tests that run at the same time
    let limit = helloop::testing::raise_descriptor_limit().saturating_sub(SPARE_DESCRIPTORS);
    let clients = wanted.min(usize::try_from(limit).unwrap_or(wanted));
    if clients < wanted {
        println!("note: {clients} clients instead of {wanted}: the descriptor limit is {limit}");
    }
    clients
}

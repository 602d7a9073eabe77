//! The other end of the observers' HTTP: just enough to see exactly what was answered.

#![allow(dead_code, unreachable_pub)]

use crate::util::{Server, connect};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// One answer.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    /// The head as it came, without its empty line.
    pub head: String,
    pub body: Vec<u8>,
}

impl Response {
    /// The value of a header field, if it is there.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

/// Where a server with `--observe` can be looked at.
#[track_caller]
pub fn gate_of(server: &Server) -> SocketAddr {
    let line = server.stdout().wait_for("watch it at ");
    let address = line.trim_start_matches("watch it at http://");
    address.trim_end_matches('/').parse().unwrap()
}

/// Reads a head, byte by byte, so that what follows stays in the stream.
#[track_caller]
pub fn read_head(stream: &mut TcpStream) -> Response {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        let count = stream.read(&mut byte).unwrap();
        assert!(count > 0, "ended in {:?}", String::from_utf8_lossy(&head));
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let head = head.trim_end().to_owned();
    Response {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head,
        body: Vec::new(),
    }
}

/// Reads a whole answer that tells its length.
#[track_caller]
pub fn read_response(stream: &mut TcpStream) -> Response {
    let mut response = read_head(stream);
    let length = response.field("content-length").expect("a length");
    response.body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut response.body).unwrap();
    response
}

/// Sends these bytes on a connection of their own, and reads the answer.
#[track_caller]
pub fn send(gate: SocketAddr, request: &[u8]) -> Response {
    let mut stream = connect(gate);
    stream.write_all(request).unwrap();
    read_response(&mut stream)
}

/// Asks for a path.
#[track_caller]
pub fn get(gate: SocketAddr, path: &str) -> Response {
    send(
        gate,
        format!("GET {path} HTTP/1.1\r\nHost: {gate}\r\n\r\n").as_bytes(),
    )
}

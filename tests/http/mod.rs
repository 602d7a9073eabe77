//! A minimal HTTP client that shows exactly what the server responded.

#![allow(dead_code, unreachable_pub)]

use crate::util::{Server, connect};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// One response.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    /// The head as received, without the empty line.
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

/// The address that a server with `--observe` printed.
#[track_caller]
pub fn observe_address(server: &Server) -> SocketAddr {
    let line = server.stdout().wait_for("watch it at ");
    let address = line.trim_start_matches("watch it at http://");
    address.trim_end_matches('/').parse().unwrap()
}

/// Reads a head byte by byte, so that the body stays in the stream.
#[track_caller]
pub fn read_head(stream: &mut TcpStream) -> Response {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        let count = stream.read(&mut byte).unwrap();
        assert!(count > 0, "EOF after {:?}", String::from_utf8_lossy(&head));
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

/// Reads a whole response that has a Content-Length.
#[track_caller]
pub fn read_response(stream: &mut TcpStream) -> Response {
    let mut response = read_head(stream);
    let length = response.field("content-length").expect("a Content-Length");
    response.body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut response.body).unwrap();
    response
}

/// Sends these bytes on a new connection, and reads the response.
#[track_caller]
pub fn send(address: SocketAddr, request: &[u8]) -> Response {
    let mut stream = connect(address);
    stream.write_all(request).unwrap();
    read_response(&mut stream)
}

fn request(address: SocketAddr, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n")
}

/// Requests a path.
#[track_caller]
pub fn get(address: SocketAddr, path: &str) -> Response {
    send(address, request(address, path).as_bytes())
}

/// Requests a path; `None` if the connection is closed before the first byte of a response.
#[track_caller]
pub fn try_get(address: SocketAddr, path: &str) -> Option<Response> {
    let mut stream = connect(address);
    stream.write_all(request(address, path).as_bytes()).ok()?;
    match stream.peek(&mut [0]) {
        Ok(1..) => Some(read_response(&mut stream)),
        Ok(0) => None,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
        Err(error) => panic!("{error}"),
    }
}

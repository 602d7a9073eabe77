//! The tutorial's servers in Python: the same calls in the same order.

use crate::util::{Process, free_address};
use crate::{microseconds, stress};
use std::net::SocketAddr;
use std::process::Command;

/// A thread per client; each reply is delayed by a second.
const PYTHON_TCP_SERVER: &str = "\
import socket
import threading
import time


def greet(client, address):
    print(f'connected: {address}')
    client.send(b'Welcome!')
    while True:
        name = client.recv(1024)
        time.sleep(1)
        if not name or name == b'exit':
            break
        client.send(b'Hello, ' + name + b'!')
    client.close()
    print(f'closed: {address}')


listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
listener.bind(('127.0.0.1', 9999))
listener.listen(5)
print('listening')
while True:
    client, address = listener.accept()
    threading.Thread(target=greet, args=(client, address)).start()
";

const PYTHON_UDP_SERVER: &str = "\
import socket

server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(('127.0.0.1', 9999))
print('listening')
while True:
    name, client = server.recvfrom(1024)
    server.sendto(b'Hello, ' + name + b'!', client)
";

/// Starts a Python server on a free port, and waits until it listens.
fn python(script: &str) -> (Process, SocketAddr) {
    let address = free_address();
    let script = script.replace("9999", &address.port().to_string());
    let mut command = Command::new("python3");
    command.args(["-u", "-c", &script]);
    let server = Process::start(command);
    assert!(
        server.stdout.appears("listening"),
        "{:#?}",
        server.stderr.all()
    );
    (server, address)
}

#[test]
#[ignore = "needs python3"]
fn the_tutorials_tcp_server() {
    let (_server, address) = python(PYTHON_TCP_SERVER);
    // A backlog of 5 cannot hold a burst.
    let ramp = "--clients 30 --connect-rate 100 --warmup 0s";
    let (ended, report) = stress(address, &format!("{ramp} --messages 60"));
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert_eq!(report["clients"]["answered"], 30);
    assert!(
        microseconds(&report["latency"]["min_us"]) >= 1e6,
        "each reply is delayed by 1 s"
    );
    assert!(
        report["server"]["threads"].as_u64().unwrap() > 30,
        "one thread per client"
    );
}

#[test]
#[ignore = "needs python3"]
fn the_tutorials_udp_server() {
    let (_server, address) = python(PYTHON_UDP_SERVER);
    let flags = "--udp --clients 20 --messages 1000 --warmup 0s";
    let (ended, report) = stress(address, flags);
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert_eq!(report["messages"]["answered"], 1_000);
}

//! The tutorial's own servers, in Python.

use crate::util::Process;
use crate::{microseconds, stress};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;

/// The tutorial's TCP server, line for line but for its port and its queue of five.
const PYTHON_TCP_SERVER: &str = "\
import socket, threading, time

def tcplink(sock, addr):
    print('Accept new connection from %s:%s...' % addr)
    sock.send(b'Welcome!')
    while True:
        data = sock.recv(1024)
        time.sleep(1)
        if not data or data.decode('utf-8') == 'exit':
            break
        sock.send(('Hello, %s!' % data.decode('utf-8')).encode('utf-8'))
    sock.close()
    print('Connection from %s:%s closed.' % addr)

s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
s.bind(('127.0.0.1', 9999))
s.listen(5)
print('Waiting for connection...')
while True:
    sock, addr = s.accept()
    t = threading.Thread(target=tcplink, args=(sock, addr))
    t.start()
";

/// The tutorial's UDP server.
const PYTHON_UDP_SERVER: &str = "\
import socket

s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('127.0.0.1', 9999))
print('Bind UDP on 9999...')
while True:
    data, addr = s.recvfrom(1024)
    s.sendto(b'Hello, %s!' % data, addr)
";

/// Starts a script of the tutorial's on a free port, and waits for its first line.
fn python(script: &str, ready: &str) -> (Process, SocketAddr) {
    // Free for TCP and UDP a moment ago: nobody is given it so soon again.
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let script = script.replace("9999", &address.port().to_string());
    let mut command = Command::new("python3");
    command.args(["-u", "-c", &script]);
    let server = Process::start(command);
    assert!(server.stdout.appears(ready), "{:#?}", server.stderr.all());
    (server, address)
}

#[test]
#[ignore = "needs python3"]
fn the_tutorials_own_tcp_server() {
    let (_server, address) = python(PYTHON_TCP_SERVER, "Waiting for connection...");
    // Its queue of five holds no burst.
    let ramp = "--clients 30 --connect-rate 100 --warmup 0s";
    let (ended, report) = stress(address, &format!("{ramp} --messages 60"));
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert_eq!(report["clients"]["answered"], 30);
    assert!(
        microseconds(&report["latency"]["min_us"]) >= 1e6,
        "it sleeps a second"
    );
    assert!(
        report["server"]["threads"].as_u64().unwrap() > 30,
        "a thread each"
    );
}

#[test]
#[ignore = "needs python3"]
fn the_tutorials_own_udp_server() {
    let (_server, address) = python(PYTHON_UDP_SERVER, "Bind UDP on");
    let flags = "--udp --clients 20 --messages 1000 --warmup 0s";
    let (ended, report) = stress(address, flags);
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert_eq!(report["messages"]["answered"], 1_000);
}

//! What the tutorial teaches, against both servers: its exchanges over TCP and UDP, its own
//! Python clients as it prints them, and `nc`.
//!
//! The tests that need a program of the machine's are ignored by default, since a bare machine
//! may not have it: `cargo test --test tutorial -- --ignored` runs them.

#[macro_use]
mod util;

use util::{Model, Process, ask, ask_udp, connect, expect, expect_last, run};

use std::io::Write;
use std::net::SocketAddr;
use std::process::Command;

both_models! {
    the_tcp_exchange,
    the_udp_exchange,
    the_tcp_exchange_with_its_sleep,
    #[ignore = "needs python3"]
    the_python_tcp_client,
    #[ignore = "needs python3"]
    the_python_udp_client,
    #[ignore = "needs nc"]
    nc_in_chunk_framing,
    #[ignore = "needs nc"]
    nc_in_line_framing,
    #[ignore = "needs nc"]
    nc_over_udp,
}

fn the_tcp_exchange(model: Model) {
    exchange(model, &[]);
}

/// `time.sleep(1)` before each reply, only shorter here.
fn the_tcp_exchange_with_its_sleep(model: Model) {
    exchange(model, &["--delay", "50ms"]);
}

fn exchange(model: Model, flags: &[&str]) {
    let server = model.start(flags);
    let mut stream = connect(server.tcp_address());
    expect(&mut stream, b"Welcome!");
    ask(&mut stream, b"Michael", b"Hello, Michael!");
    ask(&mut stream, b"Tracy", b"Hello, Tracy!");
    ask(&mut stream, b"Sarah", b"Hello, Sarah!");
    stream.write_all(b"exit").unwrap();
    expect_last(&mut stream, b"");
}

fn the_udp_exchange(model: Model) {
    let server = model.start(&[]);
    let socket = server.udp();
    ask_udp(&socket, b"Michael", b"Hello, Michael!");
    ask_udp(&socket, b"Tracy", b"Hello, Tracy!");
    ask_udp(&socket, b"Sarah", b"Hello, Sarah!");
}

/// The tutorial's TCP client, line for line.
const PYTHON_TCP_CLIENT: &str = "\
import socket

s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
s.connect(('127.0.0.1', 9999))
print(s.recv(1024).decode('utf-8'))
for data in [b'Michael', b'Tracy', b'Sarah']:
    s.send(data)
    print(s.recv(1024).decode('utf-8'))
s.send(b'exit')
s.close()
";

/// The tutorial's UDP client, line for line.
const PYTHON_UDP_CLIENT: &str = "\
import socket

s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for data in [b'Michael', b'Tracy', b'Sarah']:
    s.sendto(data, ('127.0.0.1', 9999))
    print(s.recv(1024).decode('utf-8'))
s.close()
";

const GREETINGS: &str = "Hello, Michael!\nHello, Tracy!\nHello, Sarah!\n";

fn the_python_tcp_client(model: Model) {
    let server = model.start(&[]);
    assert_eq!(
        python(PYTHON_TCP_CLIENT, server.tcp_address()),
        format!("Welcome!\n{GREETINGS}")
    );
    assert!(
        server
            .stop()
            .stdout
            .contains("served 1 clients, 4 messages"),
        "the fourth message is exit"
    );
}

fn the_python_udp_client(model: Model) {
    let server = model.start(&[]);
    assert_eq!(python(PYTHON_UDP_CLIENT, server.tcp_address()), GREETINGS);
}

/// Runs a script of the tutorial's, its port replaced, and returns what it prints.
fn python(script: &str, server: SocketAddr) -> String {
    let script = script.replace("9999", &server.port().to_string());
    let mut command = Command::new("python3");
    command.args(["-c", &script]);
    let ended = run(command);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    ended.stdout
}

fn nc(flags: &[&str], server: SocketAddr) -> Process {
    let mut command = Command::new("nc");
    command.args(flags);
    command.args([server.ip().to_string(), server.port().to_string()]);
    Process::start(command)
}

fn type_in(nc: &mut Process, words: &str) {
    nc.stdin
        .as_mut()
        .unwrap()
        .write_all(words.as_bytes())
        .unwrap();
}

/// A person types a line and reads its answer. The line ending stands outside the name.
fn nc_in_chunk_framing(model: Model) {
    let server = model.start(&[]);
    let mut nc = nc(&[], server.tcp_address());
    type_in(&mut nc, "Michael\n");
    nc.stdout.wait_for("Welcome!Hello, Michael!");
    type_in(&mut nc, "Tracy\r\n");
    nc.stdout.wait_for("Hello, Tracy!\r");
    type_in(&mut nc, "exit\r\n");
    assert_eq!(
        nc.wait().stdout,
        "Welcome!Hello, Michael!\nHello, Tracy!\r\n"
    );
}

/// Lines may be piped in all at once.
fn nc_in_line_framing(model: Model) {
    let server = model.start(&["--framing", "line"]);
    let mut nc = nc(&["-N"], server.tcp_address());
    type_in(&mut nc, "Michael\nTracy\r\nSarah");
    assert_eq!(nc.wait().stdout, format!("Welcome!\n{GREETINGS}"));
}

fn nc_over_udp(model: Model) {
    let server = model.start(&[]);
    let mut nc = nc(&["-u"], server.tcp_address());
    type_in(&mut nc, "Michael\n");
    nc.stdout.wait_for("Hello, Michael!");
    type_in(&mut nc, "exit\n");
    nc.stdout.wait_for("Hello, exit!");
}

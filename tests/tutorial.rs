//! What the tutorial teaches, against both servers: its exchanges over TCP and UDP, its own
//! Python clients as it prints them, and `nc`.

#[macro_use]
mod util;

use std::io::Write;
use util::{Model, ask, ask_udp, connect, expect, expect_last};

both_models! {
    the_tcp_exchange,
    the_udp_exchange,
}

fn the_tcp_exchange(model: Model) {
    let server = model.start(&[]);
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

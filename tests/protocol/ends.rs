//! What ends a conversation, and what one client's end means to the others.

use crate::util::{Model, ask, ask_udp, connect, expect_last, read_to_end};
use socket2::SockRef;
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

both_models! {
    exit_has_no_reply_and_ends_without_a_reset,
    data_and_end_of_input_in_one_packet,
    data_and_end_of_input_before_the_accept,
    an_unterminated_last_line_is_a_message,
    half_close_is_not_gone,
    a_reset_ends_one_client_alone,
}

fn exit_has_no_reply_and_ends_without_a_reset(model: Model) {
    let server = model.start(&["--framing", "line"]);
    let mut stream = server.connect();
    // What stands behind it is thrown away, and is not a reason to reset.
    let rest = "Tracy\n".repeat(10_000);
    stream
        .write_all(format!("Michael\nexit\n{rest}").as_bytes())
        .unwrap();
    expect_last(&mut stream, b"Hello, Michael!\n");
    // A name that only begins like it is a name.
    let mut stream = server.connect();
    ask(
        &mut stream,
        b"exits\n EXIT\n",
        b"Hello, exits!\nHello,  EXIT!\n",
    );
}

/// Sends this and the end of input, in one packet where the system lets us.
fn send_last(stream: &mut TcpStream, message: &[u8]) {
    #[cfg(target_os = "linux")]
    SockRef::from(&*stream).set_tcp_cork(true).unwrap();
    stream.write_all(message).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
}

fn data_and_end_of_input_in_one_packet(model: Model) {
    let server = model.start(&[]);
    for _ in 0..50 {
        let mut stream = server.connect();
        send_last(&mut stream, b"Michael");
        expect_last(&mut stream, b"Hello, Michael!");
    }
    // Twice the same, for a chunk that fills its buffer hides the end behind it.
    for length in [1_024, 2_048, 10_000] {
        let mut stream = server.connect();
        send_last(&mut stream, &vec![b'x'; length]);
        let replies = read_to_end(&mut stream);
        let names = replies.iter().filter(|byte| **byte == b'x').count();
        assert_eq!(names, length);
    }
    let mut stream = server.connect();
    send_last(&mut stream, b"exit");
    expect_last(&mut stream, b"");
    let mut stream = server.connect();
    send_last(&mut stream, b"");
    expect_last(&mut stream, b"");
}

/// The server may find both, and the connection, in one event.
fn data_and_end_of_input_before_the_accept(model: Model) {
    let server = model.start(&[]);
    server.assert_serves();
    server.pause();
    let mut streams: Vec<_> = (0..10).map(|_| connect(server.tcp_address())).collect();
    for stream in &mut streams {
        send_last(stream, b"Michael");
    }
    server.resume();
    for stream in &mut streams {
        expect_last(stream, b"Welcome!Hello, Michael!");
    }
}

fn an_unterminated_last_line_is_a_message(model: Model) {
    let server = model.start(&["--framing", "line"]);
    let mut stream = server.connect();
    send_last(&mut stream, b"Michael\nTracy\r\nSarah");
    expect_last(
        &mut stream,
        b"Hello, Michael!\nHello, Tracy!\nHello, Sarah!\n",
    );
    // No LF followed this CR, so it is part of the name.
    let mut stream = server.connect();
    send_last(&mut stream, b"Sarah\r");
    expect_last(&mut stream, b"Hello, Sarah\r!\n");
    let mut stream = server.connect();
    send_last(&mut stream, b"Michael\nexit");
    expect_last(&mut stream, b"Hello, Michael!\n");
}

/// A client that has said all is still there to read its replies, delayed ones too.
fn half_close_is_not_gone(model: Model) {
    let server = model.start(&["--framing", "line", "--delay", "200ms"]);
    let mut stream = server.connect();
    stream.write_all(b"Michael\n").unwrap();
    ask_udp(&server.udp(), b"fence", b"Hello, fence!");
    send_last(&mut stream, b"Tracy\nSarah");
    expect_last(
        &mut stream,
        b"Hello, Michael!\nHello, Tracy!\nHello, Sarah!\n",
    );
}

fn reset(stream: TcpStream) {
    SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(stream);
}

fn a_reset_ends_one_client_alone(model: Model) {
    let server = model.start(&["--delay", "100ms", "-v"]);
    let mut other = server.connect();
    for round in 0..20 {
        // Before and after the accept, silent, with a message unread, and with a reply owed.
        let stream = connect(server.tcp_address());
        reset(stream);
        let stream = server.connect();
        reset(stream);
        let mut stream = server.connect();
        stream.write_all(b"Michael").unwrap();
        if round % 2 == 0 {
            ask_udp(&server.udp(), b"fence", b"Hello, fence!");
        }
        reset(stream);
    }
    server.stderr().wait_for(": reset");
    ask(&mut other, b"Tracy", b"Hello, Tracy!");
    server.assert_serves();
}

//! How connections end.

use crate::util::{Model, ask, ask_udp, connect, expect_last, read_to_end, reset};
use std::io::Write;
use std::net::{Shutdown, TcpStream};

both_models! {
    exit_gets_no_reply_and_ends_without_a_reset,
    data_and_fin_in_one_packet_are_both_handled,
    #[cfg(unix)] // suspends the server
    data_and_fin_before_the_accept_are_both_handled,
    an_unterminated_last_line_is_a_message,
    a_half_closed_client_is_sent_delayed_replies,
    a_reset_ends_only_its_own_client,
}

fn exit_gets_no_reply_and_ends_without_a_reset(model: Model) {
    let server = model.start(&["--framing", "line"]);
    let mut stream = server.connect();
    // Input after `exit` is discarded and causes no reset.
    let rest = "Tracy\n".repeat(10_000);
    stream
        .write_all(format!("Michael\nexit\n{rest}").as_bytes())
        .unwrap();
    expect_last(&mut stream, b"Hello, Michael!\n");
    // What only begins with `exit` is a name.
    let mut stream = server.connect();
    ask(
        &mut stream,
        b"exits\n EXIT\n",
        b"Hello, exits!\nHello,  EXIT!\n",
    );
}

/// Sends a message and FIN, in one packet where the system allows it.
fn send_last(stream: &mut TcpStream, message: &[u8]) {
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(&*stream).set_tcp_cork(true).unwrap();
    stream.write_all(message).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
}

fn data_and_fin_in_one_packet_are_both_handled(model: Model) {
    let server = model.start(&[]);
    for _ in 0..50 {
        let mut stream = server.connect();
        send_last(&mut stream, b"Michael");
        expect_last(&mut stream, b"Hello, Michael!");
    }
    // A read that fills its buffer hides the EOF after it.
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

/// The server may find the connection, data and FIN at once.
#[cfg(unix)]
fn data_and_fin_before_the_accept_are_both_handled(model: Model) {
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

fn a_half_closed_client_is_sent_delayed_replies(model: Model) {
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

fn a_reset_ends_only_its_own_client(model: Model) {
    let server = model.start(&["--delay", "100ms", "-v"]);
    let mut other = server.connect();
    for round in 0..20 {
        // Before and after the accept, silent, with an unread message, and with a reply owed.
        reset(connect(server.tcp_address()));
        reset(server.connect());
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

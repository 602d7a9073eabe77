//! Messages and their replies on TCP.

use crate::util::{Model, Setup, ask, ask_udp, expect, expect_last};
use socket2::SockRef;
use std::io::Write;
use std::net::Shutdown;

both_models! {
    a_line_ending_is_not_part_of_the_name,
    a_line_that_arrives_byte_by_byte_is_one_message,
    a_line_may_be_65536_bytes_long,
    an_overlong_line_gets_an_error_and_ends_without_a_reset,
    a_chunk_has_at_most_1024_bytes,
    a_thousand_lines_in_one_write_are_answered_in_order,
    names_are_opaque_bytes,
    #[cfg(unix)] // suspends the server
    urgent_data_delays_no_other_client,
}

fn a_line_ending_is_not_part_of_the_name(model: Model) {
    let server = model.start(&[]);
    let mut stream = server.connect();
    ask(&mut stream, b"Michael\n", b"Hello, Michael!\n");
    ask(&mut stream, b"Tracy\r\n", b"Hello, Tracy!\r\n");
    ask(&mut stream, b"\n", b"Hello, !\n");
    // Only one ending is removed, and a lone CR is not one.
    ask(&mut stream, b"Sarah\n\n", b"Hello, Sarah\n!\n");
    ask(&mut stream, b"Sarah\r", b"Hello, Sarah\r!");
    // Only the exact message `exit` ends the connection.
    ask(&mut stream, b"exit ", b"Hello, exit !");
    stream.write_all(b"exit\r\n").unwrap();
    expect_last(&mut stream, b"");
}

fn a_line_that_arrives_byte_by_byte_is_one_message(model: Model) {
    let server = model.start(&["--framing", "line"]);
    let fence = server.udp();
    let mut stream = server.connect();
    for name in ["Michael", "Tracy", "Sarah"] {
        for byte in format!("{name}\r\n").bytes() {
            stream.write_all(&[byte]).unwrap();
            ask_udp(&fence, b"", b"Hello, !");
        }
        expect(&mut stream, format!("Hello, {name}!\n").as_bytes());
    }
}

fn a_line_may_be_65536_bytes_long(model: Model) {
    let server = model.start(&["--framing", "line"]);
    let mut stream = server.connect();
    let name = vec![b'x'; 65_536];
    let reply = [b"Hello, ".as_slice(), &name, b"!\n"].concat();
    ask(&mut stream, &[&name, b"\n".as_slice()].concat(), &reply);
    ask(&mut stream, &[&name, b"\r\n".as_slice()].concat(), &reply);
}

/// Closing with unread input would send a reset, which could destroy the error message.
fn an_overlong_line_gets_an_error_and_ends_without_a_reset(model: Model) {
    let server = model.start(&["--framing", "line"]);
    let mut stream = server.connect();
    let flood = vec![b'x'; 200_000];
    stream.write_all(b"Michael\n").unwrap();
    stream.write_all(&flood).unwrap();
    expect_last(
        &mut stream,
        b"Hello, Michael!\nError: line longer than 65536 bytes\n",
    );
    server.assert_serves();
}

fn a_chunk_has_at_most_1024_bytes(model: Model) {
    let server = model.start(&[]);
    let mut stream = server.connect();
    let chunk = |length| [b"Hello, ".as_slice(), &vec![b'x'; length], b"!"].concat();
    ask(&mut stream, &[b'x'; 1_024], &chunk(1_024));
    // One segment on the loopback interface, two reads.
    ask(
        &mut stream,
        &[b'x'; 1_500],
        &[chunk(1_024), chunk(476)].concat(),
    );
}

fn a_thousand_lines_in_one_write_are_answered_in_order(model: Model) {
    let server = model.start(&["--framing", "line"]);
    let mut stream = server.connect();
    let lines: String = (0..1_000).map(|n| format!("name {n}\n")).collect();
    let replies: String = (0..1_000).map(|n| format!("Hello, name {n}!\n")).collect();
    ask(&mut stream, lines.as_bytes(), replies.as_bytes());
}

fn names_are_opaque_bytes(model: Model) {
    const NAME: &[u8] = b"\xff\xfe\x00\x1b[31m \xc3\x28 \xed\xa0\x80 Zo\xc3\xab";
    let reply = [b"Hello, ", NAME, b"!"].concat();
    let server = model.start(&["-v"]);
    ask(&mut server.connect(), NAME, &reply);
    ask_udp(&server.udp(), NAME, &reply);
    let server = model.start(&["--framing", "line", "-v"]);
    let line = [NAME, b"\n"].concat();
    ask(
        &mut server.connect(),
        &line,
        &[&reply, b"\n".as_slice()].concat(),
    );
    server.assert_serves();
}

/// A read stops at TCP's urgent mark, and the urgent byte is not part of the stream. On epoll the
/// reactor takes a short read as proof that the socket is drained, so it reads what follows the mark
/// with the client's next segment: only that client waits. A thread just reads again.
#[cfg(unix)]
fn urgent_data_delays_no_other_client(model: Model) {
    let server = model.start(&["--framing", "line"]);
    let mut other = server.connect();
    let mut stream = server.connect();
    ask(&mut stream, b"Ada\n", b"Hello, Ada!\n");
    // All of it has arrived when the server reads.
    server.pause();
    stream.write_all(b"Michael\n").unwrap();
    SockRef::from(&stream).send_out_of_band(b"!").unwrap();
    stream.write_all(b"Tracy\n").unwrap();
    server.resume();
    expect(&mut stream, b"Hello, Michael!\n");
    ask(&mut other, b"Grace\n", b"Hello, Grace!\n");
    if model == Model::Reactor && cfg!(not(mio_unsupported_force_poll_poll)) {
        let counters = server.counters();
        assert!(counters.contains("; messages 3 "), "{counters}");
    }
    stream.write_all(b"Sarah\n").unwrap();
    expect(&mut stream, b"Hello, Tracy!\nHello, Sarah!\n");
    // Repeatedly, alone, and right before FIN.
    for _ in 0..10 {
        SockRef::from(&stream).send_out_of_band(b"!").unwrap();
        ask(&mut stream, b"Michael\n", b"Hello, Michael!\n");
    }
    SockRef::from(&stream).send_out_of_band(b"!").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    expect_last(&mut stream, b"");
    server.assert_serves();
}

/// Without flags the server speaks the tutorial's protocol on one thread.
#[test]
fn the_defaults_are_those_of_the_tutorial() {
    let server = Setup::new(&[]).start();
    #[cfg(target_os = "linux")]
    assert_eq!(server.threads(), 1);
    server.assert_serves();
}

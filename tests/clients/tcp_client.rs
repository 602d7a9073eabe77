//! The TCP client.

use crate::util::{Server, TIMEOUT, refusing_port};
use crate::{
    NAMES, SHORT_TIMEOUT, arguments, greet_tcp, greet_tcp_within, message_of, receive,
    replying_server, serve_chunks, tcp_server,
};
use helloop::protocol::greeting::{Framing, MAX_CHUNK_BYTES, MAX_LINE_BYTES};
use helloop::testing::client::{Error, Service, names, tcp};
use std::io::{self, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Instant;

#[test]
fn tcp_sends_and_prints_what_the_tutorials_client_does() {
    let (to, server) = tcp_server(serve_chunks);
    let (out, result) = greet_tcp(&to, Framing::Chunk, &NAMES);
    result.unwrap();
    assert_eq!(
        out,
        b"Welcome!\nHello, Michael!\nHello, Tracy!\nHello, Sarah!\n"
    );
    let received = server.join().unwrap();
    assert_eq!(received, [&b"Michael"[..], b"Tracy", b"Sarah", b"exit"]);
}

#[test]
fn tcp_supports_line_framing() {
    let (to, server) = tcp_server(|mut stream| {
        stream.write_all(b"Welcome!\n").unwrap();
        let mut received = Vec::new();
        for reply in [&b"Hello, Michael!\n"[..], b"Hello, exit now!\n", b""] {
            received.extend(receive(&mut stream));
            stream.write_all(reply).unwrap();
        }
        received
    });
    let (out, result) = greet_tcp(&to, Framing::Line, &[b"Michael", b"exit now"]);
    result.unwrap();
    assert_eq!(out, b"Welcome!\nHello, Michael!\nHello, exit now!\n");
    assert_eq!(server.join().unwrap(), b"Michael\nexit now\nexit\n");
}

#[test]
fn tcp_waits_for_the_whole_reply_however_it_is_split() {
    let (to, server) = tcp_server(|mut stream| {
        let mut early = 0;
        for reply in [&b"Welcome!"[..], b"Hello, Michael!", b"Hello, Tracy!"] {
            let (last, start) = reply.split_last().unwrap();
            for byte in start {
                stream.write_all(&[*byte]).unwrap();
            }
            // A client that takes the first part for the whole reply sends its next name now. A
            // correct client passes however long this takes.
            stream.set_read_timeout(Some(SHORT_TIMEOUT)).unwrap();
            early += stream.peek(&mut [0; 64]).unwrap_or(0);
            stream.set_read_timeout(Some(TIMEOUT)).unwrap();
            stream.write_all(&[*last]).unwrap();
            receive(&mut stream);
        }
        early
    });
    let (out, result) = greet_tcp(&to, Framing::Chunk, &[b"Michael", b"Tracy"]);
    result.unwrap();
    assert_eq!(out, b"Welcome!\nHello, Michael!\nHello, Tracy!\n");
    assert_eq!(server.join().unwrap(), 0, "a name was sent too early");
}

#[test]
fn tcp_prints_bytes_unchanged_or_escaped() {
    let names: &[&[u8]] = &[b"\xff\x1b[2J", "新浪".as_bytes()];
    for (escaped, expected) in [
        (
            false,
            &b"Welcome!\nHello, \xff\x1b[2J!\nHello, \xe6\x96\xb0\xe6\xb5\xaa!\n"[..],
        ),
        (
            true,
            "Welcome!\nHello, \\xff\\u{1b}[2J!\nHello, 新浪!\n".as_bytes(),
        ),
    ] {
        let (to, server) = tcp_server(serve_chunks);
        let options = tcp::Options {
            to,
            framing: Framing::Chunk,
            timeout: TIMEOUT,
        };
        let mut out = Vec::new();
        tcp::run(&options, arguments(names), &mut out, escaped).unwrap();
        assert_eq!(out, expected);
        server.join().unwrap();
    }
}

#[test]
fn tcp_takes_the_next_name_only_after_the_reply() {
    let (to, server) = tcp_server(serve_chunks);
    let options = tcp::Options {
        to,
        framing: Framing::Chunk,
        timeout: TIMEOUT,
    };
    let mut out = Vec::new();
    let names = names::prompted(&b"Michael\nexit\nTracy\n"[..], io::sink(), MAX_CHUNK_BYTES);
    tcp::run(&options, names, &mut out, false).unwrap();
    // The name `exit` ends the conversation and is sent once.
    assert_eq!(out, b"Welcome!\nHello, Michael!\n");
    assert_eq!(server.join().unwrap(), [&b"Michael"[..], b"exit"]);
}

#[test]
fn tcp_sends_no_invalid_name() {
    for name in [&b""[..], b"a\nb", b"a\r", &[b'x'; MAX_CHUNK_BYTES + 1]] {
        let (to, server) = tcp_server(serve_chunks);
        let options = tcp::Options {
            to,
            framing: Framing::Chunk,
            timeout: TIMEOUT,
        };
        let names = [Ok(name.to_vec())];
        let error = tcp::run(&options, names, &mut Vec::new(), false).unwrap_err();
        assert!(matches!(error, Error::Name { .. }), "{error:?}");
        assert_eq!(
            (error.exit_code(), message_of(&error).is_empty()),
            (1, false)
        );
        assert_eq!(server.join().unwrap(), [b""], "EOF and no name");
    }
}

#[test]
fn tcp_greets_the_longest_name_of_each_framing() {
    for (framing, bytes) in [
        (Framing::Chunk, MAX_CHUNK_BYTES),
        (Framing::Line, MAX_LINE_BYTES),
    ] {
        let server = Server::start(&["--framing", framing_name(framing)]);
        let to = server.tcp_address().to_string();
        let (out, result) = greet_tcp(&to, framing, &[&vec![b'x'; bytes]]);
        result.unwrap();
        assert_eq!(out.len(), b"Welcome!\nHello, !\n".len() + bytes);
        let (_, result) = greet_tcp(&to, framing, &[&vec![b'x'; bytes + 1]]);
        let limit = format!("longer than {bytes} bytes");
        assert!(result.is_err_and(|error| message_of(&error).contains(&limit)));
    }
}

fn framing_name(framing: Framing) -> &'static str {
    match framing {
        Framing::Chunk => "chunk",
        Framing::Line => "line",
    }
}

#[test]
fn tcp_quotes_an_unexpected_reply() {
    type Row = (&'static [&'static [u8]], Framing, &'static [&'static str]);
    let table: &[Row] = &[
        (
            &[b"Welcome!", b"Hello, Mxchael!"],
            Framing::Chunk,
            &["the reply to Michael", "Hello, Mxchael!"],
        ),
        (&[b"Welcome?"], Framing::Chunk, &["the welcome", "Welcome?"]),
        (&[b"Welcome!\n"], Framing::Chunk, &["--framing line"]),
        (
            &[b"Welcome!\n", b"Hello, Michael!\nHello, Michael!\n"],
            Framing::Line,
            &["Hello, Michael!\\nHello, Michael!\\n"],
        ),
        (&[b"\xff\x1b[2J\n"], Framing::Chunk, &["\\xff\\u{1b}[2J\\n"]),
        (
            &[b"SSH-2.0-OpenSSH_9.9\r\n"],
            Framing::Line,
            &["the welcome", "SSH-2.0-OpenSSH_9.9\\r\\n"],
        ),
    ];
    for (replies, framing, parts) in table {
        let (to, server) = replying_server(replies);
        let (_, result) = greet_tcp(&to, *framing, &[b"Michael"]);
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Unexpected { .. }), "{error:?}");
        assert_eq!(error.exit_code(), 1);
        for part in [to.as_str()].iter().chain(*parts) {
            assert!(message_of(&error).contains(part), "{part} in {error}");
        }
        server.join().unwrap();
    }
}

#[test]
fn tcp_reports_that_the_server_is_full() {
    let (to, server) = tcp_server(|mut stream| {
        // The first byte already differs from the welcome, and the error still quotes the whole line.
        stream.write_all(b"B").unwrap();
        // Lets the client read that byte separately; it waits much longer for the rest.
        thread::sleep(SHORT_TIMEOUT / 6);
        stream.write_all(b"usy: 100 of 100 clients ").unwrap();
        stream.write_all(b"connected\n").unwrap();
    });
    let (out, result) = greet_tcp(&to, Framing::Chunk, &[]);
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Busy { .. }), "{error:?}");
    assert!(
        message_of(&error).contains("Busy: 100 of 100 clients connected"),
        "{error}"
    );
    assert_eq!((error.exit_code(), out.len()), (1, 0));
    server.join().unwrap();
}

#[test]
fn tcp_reports_an_early_eof() {
    type Row = (&'static [&'static [u8]], &'static str, &'static str);
    let table: [Row; 4] = [
        (&[b""], "before the welcome", ""),
        (&[b"Welc"], "the welcome", "Welc"),
        (&[b"Welcome!", b""], "before the reply to Michael", ""),
        (
            &[b"Welcome!", b"Hello, Mi"],
            "the reply to Michael",
            "Hello, Mi",
        ),
    ];
    for (replies, awaited, got) in table {
        let (to, server) = replying_server(replies);
        let (_, result) = greet_tcp(&to, Framing::Chunk, &[b"Michael"]);
        let error = result.unwrap_err();
        assert!(matches!(error, Error::UnexpectedEof { .. }), "{error:?}");
        assert!(message_of(&error).contains(awaited), "{error}");
        assert!(message_of(&error).ends_with(got), "{error}");
        assert_eq!(error.exit_code(), 1);
        server.join().unwrap();
    }
}

#[test]
fn tcp_times_out_however_slowly_bytes_arrive() {
    let never = |stream: TcpStream| drop(io::copy(&mut &stream, &mut io::sink()));
    // Each byte would restart a socket timeout, but not the deadline.
    let drip = |mut stream: TcpStream| {
        stream.write_all(b"Welcome!").unwrap();
        receive(&mut stream);
        let long = [b"Hello, ", &[b'x'; MAX_CHUNK_BYTES][..]].concat();
        let mut bytes = long.iter();
        while bytes
            .next()
            .is_some_and(|byte| stream.write_all(&[*byte]).is_ok())
        {
            thread::sleep(SHORT_TIMEOUT / 6);
        }
    };
    let no_line_ending = |mut stream: TcpStream| {
        stream.write_all(b"Welcome!").unwrap();
        let _ = io::copy(&mut stream, &mut io::sink());
    };
    let longest = [b'x'; MAX_CHUNK_BYTES];
    for ((to, server), framing, word) in [
        (tcp_server(never), Framing::Chunk, "the welcome"),
        (tcp_server(drip), Framing::Chunk, "the reply to xxx"),
        (tcp_server(no_line_ending), Framing::Line, "--framing chunk"),
    ] {
        let start = Instant::now();
        let (_, result) = greet_tcp_within(3 * SHORT_TIMEOUT, &to, framing, &[&longest]);
        let error = result.unwrap_err();
        assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");
        assert!(message_of(&error).contains(word), "{error}");
        assert!(start.elapsed() < TIMEOUT / 2, "{:?}", start.elapsed());
        server.join().unwrap();
    }
}

#[test]
fn tcp_succeeds_once_all_replies_have_arrived() {
    // The first server does not close after `exit`, the second closes before it.
    let (to, server) = tcp_server(|mut stream| {
        stream.write_all(b"Welcome!").unwrap();
        receive(&mut stream);
        stream.write_all(b"Hello, Michael!").unwrap();
        let _ = io::copy(&mut stream, &mut io::sink());
    });
    greet_tcp_within(5 * SHORT_TIMEOUT, &to, Framing::Chunk, &[b"Michael"])
        .1
        .unwrap();
    server.join().unwrap();

    let (to, server) = replying_server(&[b"Welcome!", b"Hello, Michael!"]);
    greet_tcp(&to, Framing::Chunk, &[b"Michael"]).1.unwrap();
    server.join().unwrap();
}

#[test]
fn tcp_advises_how_to_start_a_server_if_refused() {
    let (_bound, to) = refusing_port();
    let to = to.to_string();
    let error = greet_tcp(&to, Framing::Chunk, &[]).1.unwrap_err();
    assert!(
        matches!(error, Error::Refused { service, .. } if service == Service::Tcp),
        "{error:?}"
    );
    for word in [&to, "helloop serve", "cargo run --release"] {
        assert!(message_of(&error).contains(word), "{error}");
    }
    assert_eq!(error.exit_code(), 1);
}

#[test]
fn a_closed_output_is_no_failure() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (to, server) = replying_server(&[b"Welcome!"]);
    let options = tcp::Options {
        to,
        framing: Framing::Chunk,
        timeout: TIMEOUT,
    };
    let error = tcp::run(&options, arguments(&[]), &mut Closed, false).unwrap_err();
    assert!(error.is_closed_output(), "{error:?}");
    assert_eq!(error.exit_code(), 0);
    server.join().unwrap();
}

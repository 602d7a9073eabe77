//! The TCP client.

use crate::{
    PATIENCE, SOON, given, greet_tcp, greet_tcp_within, hear, say, serve_chunks, tcp_server, text,
};
use helloop::client::{Error, Service, names, tcp};
use helloop::protocol::greeting::Framing;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Instant;

#[test]
fn tcp_says_what_the_tutorials_client_says() {
    let (to, server) = tcp_server(serve_chunks);
    let (out, result) = greet_tcp(&to, Framing::Chunk, &[]);
    result.unwrap();
    assert_eq!(
        out,
        b"Welcome!\nHello, Michael!\nHello, Tracy!\nHello, Sarah!\n"
    );
    let heard = server.join().unwrap();
    assert_eq!(heard, [&b"Michael"[..], b"Tracy", b"Sarah", b"exit"]);
}

#[test]
fn tcp_speaks_in_lines_too() {
    let (to, server) = tcp_server(|mut stream| {
        stream.write_all(b"Welcome!\n").unwrap();
        let mut heard = Vec::new();
        for reply in [&b"Hello, Michael!\n"[..], b"Hello, exit now!\n", b""] {
            heard.extend(hear(&mut stream));
            stream.write_all(reply).unwrap();
        }
        heard
    });
    let (out, result) = greet_tcp(&to, Framing::Line, &[b"Michael", b"exit now"]);
    result.unwrap();
    assert_eq!(out, b"Welcome!\nHello, Michael!\nHello, exit now!\n");
    assert_eq!(server.join().unwrap(), b"Michael\nexit now\nexit\n");
}

#[test]
fn tcp_waits_for_the_whole_reply_however_it_is_cut() {
    let (to, server) = tcp_server(|mut stream| {
        let mut early = 0;
        for reply in [&b"Welcome!"[..], b"Hello, Michael!", b"Hello, Tracy!"] {
            let (last, start) = reply.split_last().unwrap();
            for byte in start {
                stream.write_all(&[*byte]).unwrap();
            }
            // A client that takes the start for all of it sends its next name now. One that is
            // right passes whatever the time; the wait only gives a wrong one its chance.
            stream.set_read_timeout(Some(SOON)).unwrap();
            early += stream.peek(&mut [0; 64]).unwrap_or(0);
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(&[*last]).unwrap();
            hear(&mut stream);
        }
        early
    });
    let (out, result) = greet_tcp(&to, Framing::Chunk, &[b"Michael", b"Tracy"]);
    result.unwrap();
    assert_eq!(out, b"Welcome!\nHello, Michael!\nHello, Tracy!\n");
    assert_eq!(server.join().unwrap(), 0, "a name was sent before its turn");
}

#[test]
fn tcp_shows_bytes_as_they_are_or_escaped() {
    let names: &[&[u8]] = &[b"\xff\x1b[2J", "新浪".as_bytes()];
    for (escaped, shown) in [
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
            timeout: PATIENCE,
        };
        let mut out = Vec::new();
        tcp::run(&options, given(names), &mut out, escaped).unwrap();
        assert_eq!(out, shown);
        server.join().unwrap();
    }
}

#[test]
fn tcp_takes_a_name_only_when_its_turn_has_come() {
    let (to, server) = tcp_server(serve_chunks);
    let options = tcp::Options {
        to,
        framing: Framing::Chunk,
        timeout: PATIENCE,
    };
    let mut out = Vec::new();
    let asked = names::asked(&b"Michael\nexit\nTracy\n"[..], io::sink());
    tcp::run(&options, asked, &mut out, false).unwrap();
    // The name `exit` ends it, and is said once.
    assert_eq!(out, b"Welcome!\nHello, Michael!\n");
    assert_eq!(server.join().unwrap(), [&b"Michael"[..], b"exit"]);
}

#[test]
fn tcp_sends_no_bad_name() {
    for name in [
        &b""[..],
        b"a\nb",
        b"a\r",
        &[b'x'; names::MAX_NAME_BYTES + 1],
    ] {
        let refused = names::given(vec![b"Michael".to_vec(), name.to_vec()]);
        assert!(matches!(refused.map(|_| ()), Err(Error::Name { .. })));

        let (to, server) = tcp_server(serve_chunks);
        let options = tcp::Options {
            to,
            framing: Framing::Chunk,
            timeout: PATIENCE,
        };
        let names = [Ok(name.to_vec())];
        let error = tcp::run(&options, names, &mut Vec::new(), false).unwrap_err();
        assert!(matches!(error, Error::Name { .. }), "{error:?}");
        assert_eq!((error.exit_code(), text(&error).is_empty()), (1, false));
        assert_eq!(server.join().unwrap(), [b""], "end of input and no name");
    }
}

#[test]
fn tcp_greets_the_longest_name() {
    let longest = [b'x'; names::MAX_NAME_BYTES];
    let (to, _) = tcp_server(serve_chunks);
    let (out, result) = greet_tcp(&to, Framing::Chunk, &[&longest]);
    result.unwrap();
    assert_eq!(out.len(), b"Welcome!\nHello, !\n".len() + longest.len());
}

#[test]
fn tcp_tells_what_came_in_place_of_the_protocol() {
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
    for (replies, framing, words) in table {
        let (to, server) = say(replies);
        let (_, result) = greet_tcp(&to, *framing, &[b"Michael"]);
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Unexpected { .. }), "{error:?}");
        assert_eq!(error.exit_code(), 1);
        for word in [to.as_str()].iter().chain(*words) {
            assert!(text(&error).contains(word), "{word} in {error}");
        }
        server.join().unwrap();
    }
}

#[test]
fn tcp_tells_that_the_server_is_busy() {
    let (to, server) = tcp_server(|mut stream| {
        // The first byte alone differs from the welcome: the sentence must still come whole.
        stream.write_all(b"B").unwrap();
        // Lets the client read that byte by itself; it waits much longer for the rest.
        thread::sleep(SOON / 6);
        stream.write_all(b"usy: 100 of 100 clients ").unwrap();
        stream.write_all(b"connected\n").unwrap();
    });
    let (out, result) = greet_tcp(&to, Framing::Chunk, &[]);
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Busy { .. }), "{error:?}");
    assert!(
        text(&error).contains("Busy: 100 of 100 clients connected"),
        "{error}"
    );
    assert_eq!((error.exit_code(), out.len()), (1, 0));
    server.join().unwrap();
}

#[test]
fn tcp_tells_that_the_server_left() {
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
        let (to, server) = say(replies);
        let (_, result) = greet_tcp(&to, Framing::Chunk, &[b"Michael"]);
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Ended { .. }), "{error:?}");
        assert!(text(&error).contains(awaited), "{error}");
        assert!(text(&error).ends_with(got), "{error}");
        assert_eq!(error.exit_code(), 1);
        server.join().unwrap();
    }
}

#[test]
fn tcp_waits_for_no_one_for_ever() {
    let never = |stream: TcpStream| drop(io::copy(&mut &stream, &mut io::sink()));
    // Each byte would start a time-out of the socket anew; the deadline stands.
    let drip = |mut stream: TcpStream| {
        stream.write_all(b"Welcome!").unwrap();
        hear(&mut stream);
        let long = [b"Hello, ", &[b'x'; names::MAX_NAME_BYTES][..]].concat();
        let mut bytes = long.iter();
        while bytes
            .next()
            .is_some_and(|byte| stream.write_all(&[*byte]).is_ok())
        {
            thread::sleep(SOON / 6);
        }
    };
    let no_line_ending = |mut stream: TcpStream| {
        stream.write_all(b"Welcome!").unwrap();
        let _ = io::copy(&mut stream, &mut io::sink());
    };
    let longest = [b'x'; names::MAX_NAME_BYTES];
    for ((to, server), framing, word) in [
        (tcp_server(never), Framing::Chunk, "the welcome"),
        (tcp_server(drip), Framing::Chunk, "the reply to xxx"),
        (tcp_server(no_line_ending), Framing::Line, "--framing chunk"),
    ] {
        let start = Instant::now();
        let (_, result) = greet_tcp_within(3 * SOON, &to, framing, &[&longest]);
        let error = result.unwrap_err();
        assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");
        assert!(text(&error).contains(word), "{error}");
        assert!(start.elapsed() < PATIENCE / 2, "{:?}", start.elapsed());
        server.join().unwrap();
    }
}

#[test]
fn tcp_has_succeeded_once_all_replies_are_there() {
    // Neither closes after `exit`, nor stays for it.
    let (to, server) = tcp_server(|mut stream| {
        stream.write_all(b"Welcome!").unwrap();
        hear(&mut stream);
        stream.write_all(b"Hello, Michael!").unwrap();
        let _ = io::copy(&mut stream, &mut io::sink());
    });
    greet_tcp_within(5 * SOON, &to, Framing::Chunk, &[b"Michael"])
        .1
        .unwrap();
    server.join().unwrap();

    let (to, server) = say(&[b"Welcome!", b"Hello, Michael!"]);
    greet_tcp(&to, Framing::Chunk, &[b"Michael"]).1.unwrap();
    server.join().unwrap();
}

/// A TCP port that is taken, so that nobody else gets it, and does not listen.
fn refusing_port() -> (socket2::Socket, String) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address.to_string())
}

#[test]
fn tcp_tells_how_to_start_a_server_where_there_is_none() {
    let (_held, to) = refusing_port();
    let error = greet_tcp(&to, Framing::Chunk, &[]).1.unwrap_err();
    let service = Service::Tcp;
    assert!(
        matches!(&error, Error::Refused { service: s, .. } if *s == service),
        "{error:?}"
    );
    for word in [&to, "helloop serve", "cargo run --release"] {
        assert!(text(&error).contains(word), "{error}");
    }
    assert_eq!(error.exit_code(), 1);
}

#[test]
fn a_reader_that_left_is_no_trouble() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (to, server) = say(&[b"Welcome!"]);
    let options = tcp::Options {
        to,
        framing: Framing::Chunk,
        timeout: PATIENCE,
    };
    let error = tcp::run(&options, given(&[]), &mut Closed, false).unwrap_err();
    assert!(error.is_closed_output(), "{error:?}");
    assert_eq!(error.exit_code(), 0);
    server.join().unwrap();
}

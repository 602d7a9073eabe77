//! The UDP client.

use crate::util::{Server, TIMEOUT};
use crate::{
    NAMES, SHORT_TIMEOUT, greet_udp, greet_udp_in_tries, message_of, receive_datagram, reply,
    serve_datagrams, udp_server,
};
use helloop::protocol::greeting::MAX_DATAGRAM_BYTES;
use helloop::testing::client::{Error, Service};
use std::net::UdpSocket;
use std::time::Instant;

/// More tries than a slow machine needs.
const MANY_TRIES: u32 = 100;

#[test]
fn udp_sends_and_prints_what_the_tutorials_client_does() {
    let (to, server) = udp_server(|socket| serve_datagrams(&socket, 3));
    let (out, result) = greet_udp(&to, TIMEOUT, &NAMES);
    result.unwrap();
    assert_eq!(out, b"Hello, Michael!\nHello, Tracy!\nHello, Sarah!\n");
    assert_eq!(
        server.join().unwrap(),
        [&b"Michael"[..], b"Tracy", b"Sarah"]
    );
}

#[test]
fn udp_has_no_exit_and_greets_the_longest_name() {
    let longest = vec![b'x'; MAX_DATAGRAM_BYTES];
    let server = Server::start(&["--max-datagram", &MAX_DATAGRAM_BYTES.to_string()]);
    let to = server.tcp_address().to_string();
    let (out, result) = greet_udp(&to, TIMEOUT, &[b"exit", &longest]);
    result.unwrap();
    assert!(out.starts_with(b"Hello, exit!\nHello, xxx"));
    assert_eq!(out.len(), b"Hello, exit!\nHello, !\n".len() + longest.len());
}

/// The message says the cause, and asks for no other.
fn assert_known_cause(message: &str, cause: &str) {
    assert!(message.ends_with(cause), "{message}");
    assert!(!message.contains(['?', '(']), "{message}");
}

#[test]
fn udp_explains_why_a_long_name_is_not_answered() {
    let (to, server) = udp_server(|socket| {
        for _ in 0..3 {
            receive_datagram(&socket);
        }
    });
    let error = greet_udp(&to, SHORT_TIMEOUT, &[&[b'x'; 1_025]])
        .1
        .unwrap_err();
    assert_known_cause(&message_of(&error), "a larger --max-datagram");
    server.join().unwrap();
}

#[test]
fn udp_retries_a_lost_datagram() {
    let (to, server) = udp_server(|socket| {
        let first = receive_datagram(&socket);
        let second = receive_datagram(&socket);
        assert_eq!(first, second, "the same name from the same port");
        // A slow machine receives more than these two tries.
        reply(&socket, &second.0, second.1);
        while serve_datagrams(&socket, 1) != [b"Tracy"] {}
    });
    let (out, result) = greet_udp_in_tries(MANY_TRIES, &to, SHORT_TIMEOUT, &[b"Michael", b"Tracy"]);
    result.unwrap();
    assert_eq!(out, b"Hello, Michael!\nHello, Tracy!\n");
    server.join().unwrap();
}

#[test]
fn udp_gives_up_after_its_tries() {
    let (to, server) = udp_server(|socket| {
        for _ in 0..3 {
            receive_datagram(&socket);
        }
        // Time for one try too many to arrive. A correct client passes however long this takes.
        socket.set_read_timeout(Some(2 * SHORT_TIMEOUT)).unwrap();
        socket.recv_from(&mut [0; 64]).is_err()
    });
    let (out, result) = greet_udp(&to, SHORT_TIMEOUT, &[b"Michael", b"Tracy"]);
    let error = result.unwrap_err();
    assert!(
        matches!(error, Error::Unanswered { tries: 3, .. }),
        "{error:?}"
    );
    assert!(
        message_of(&error).contains("no reply to Michael in 3 tries of "),
        "{error}"
    );
    assert_eq!((error.exit_code(), out.len()), (1, 0));
    assert!(server.join().unwrap(), "a fourth try");
}

#[test]
fn udp_does_not_take_a_late_reply_for_that_of_the_next_name() {
    let (to, server) = udp_server(|socket| {
        let (name, first) = receive_datagram(&socket);
        assert_eq!(receive_datagram(&socket), (name.clone(), first));
        reply(&socket, &name, first);
        // The same name again: only the port distinguishes its reply from the late one.
        let second = loop {
            let (again, from) = receive_datagram(&socket);
            assert_eq!(again, name);
            if from != first {
                break from;
            }
        };
        reply(&socket, &name, first);
        // If the late reply had been accepted, there would be no second try.
        while receive_datagram(&socket).1 != second {}
        reply(&socket, &name, second);
    });
    let names: [&[u8]; 2] = [b"Michael", b"Michael"];
    let (out, result) = greet_udp_in_tries(MANY_TRIES, &to, SHORT_TIMEOUT, &names);
    result.unwrap();
    assert_eq!(out, b"Hello, Michael!\nHello, Michael!\n");
    server.join().unwrap();
}

#[test]
fn udp_ignores_a_duplicate_reply() {
    let (to, server) = udp_server(|socket| {
        for _ in 0..3 {
            let (name, from) = receive_datagram(&socket);
            reply(&socket, &name, from);
            reply(&socket, &name, from);
        }
    });
    let (out, result) = greet_udp(&to, TIMEOUT, &[b"Michael", b"Tracy", b"Sarah"]);
    result.unwrap();
    assert_eq!(out, b"Hello, Michael!\nHello, Tracy!\nHello, Sarah!\n");
    server.join().unwrap();
}

#[test]
fn udp_ignores_datagrams_from_other_sources() {
    let (to, server) = udp_server(|socket| {
        let (name, from) = receive_datagram(&socket);
        let other = UdpSocket::bind("127.0.0.1:0").unwrap();
        reply(&other, b"Mallory", from);
        reply(&socket, &name, from);
    });
    let (out, result) = greet_udp(&to, TIMEOUT, &[b"Michael"]);
    result.unwrap();
    assert_eq!(out, b"Hello, Michael!\n");
    server.join().unwrap();
}

#[test]
fn udp_quotes_an_unexpected_reply() {
    for (datagram, quoted) in [
        (&b"Hello, Mxchael!"[..], "Hello, Mxchael!"),
        (b"Hello, Michael!\n", "Hello, Michael!\\n"),
        (b"\x1b[2J\xff", "\\u{1b}[2J\\xff"),
        (b"", "the reply to Michael: "),
    ] {
        let (to, server) = udp_server(move |socket| {
            let (_, from) = receive_datagram(&socket);
            socket.send_to(datagram, from).unwrap();
        });
        let error = greet_udp(&to, TIMEOUT, &[b"Michael"]).1.unwrap_err();
        assert!(matches!(error, Error::Unexpected { .. }), "{error:?}");
        assert!(message_of(&error).ends_with(quoted), "{error}");
        server.join().unwrap();
    }
}

#[test]
#[cfg_attr(
    windows,
    ignore = "Wine does not wake a receive that waits when such an error arrives"
)]
fn udp_reports_a_closed_port_at_once() {
    // A connected socket occupies its port and refuses datagrams from all but its peer.
    let bound = UdpSocket::bind("127.0.0.1:0").unwrap();
    bound.connect("127.0.0.1:9").unwrap();
    let to = bound.local_addr().unwrap().to_string();
    let start = Instant::now();
    let error = greet_udp(&to, TIMEOUT, &[b"Michael"]).1.unwrap_err();
    assert!(
        matches!(error, Error::Refused { service, .. } if service == Service::Udp),
        "{error:?}"
    );
    assert!(message_of(&error).contains("helloop serve"), "{error}");
    assert!(start.elapsed() < TIMEOUT, "it waited for a timeout");
}

#[test]
fn udp_explains_why_a_greeting_is_not_answered() {
    let (to, server) = udp_server(|socket| {
        for _ in 0..3 {
            receive_datagram(&socket);
        }
    });
    let error = greet_udp(&to, SHORT_TIMEOUT, &[b"Hello, Michael!"])
        .1
        .unwrap_err();
    assert_known_cause(&message_of(&error), "itself a greeting is never answered");
    server.join().unwrap();
}

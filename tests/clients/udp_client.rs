//! The UDP client.

use crate::{
    PATIENCE, SOON, answer, greet_udp, greet_udp_in_tries, hear_datagram, reply, text, udp_server,
};
use helloop::client::{Error, Service, names};
use std::net::UdpSocket;
use std::time::Instant;

/// More tries than a slow machine needs.
const MANY: u32 = 100;

#[test]
fn udp_says_what_the_tutorials_client_says() {
    let (to, server) = udp_server(|socket| answer(&socket, 3));
    let (out, result) = greet_udp(&to, PATIENCE, &[]);
    result.unwrap();
    assert_eq!(out, b"Hello, Michael!\nHello, Tracy!\nHello, Sarah!\n");
    assert_eq!(
        server.join().unwrap(),
        [&b"Michael"[..], b"Tracy", b"Sarah"]
    );
}

#[test]
fn udp_has_no_exit_and_greets_the_longest_name() {
    let longest = [b'x'; names::MAX_NAME_BYTES];
    let (to, server) = udp_server(|socket| answer(&socket, 2));
    let (out, result) = greet_udp(&to, PATIENCE, &[b"exit", &longest]);
    result.unwrap();
    assert!(out.starts_with(b"Hello, exit!\nHello, xxx"));
    server.join().unwrap();
}

#[test]
fn udp_tries_again_what_was_lost() {
    let (to, server) = udp_server(|socket| {
        let first = hear_datagram(&socket);
        let second = hear_datagram(&socket);
        assert_eq!(first, second, "the same name from the same port");
        // A slow machine sees more tries than these two.
        reply(&socket, &second.0, second.1);
        while answer(&socket, 1) != [b"Tracy"] {}
    });
    let (out, result) = greet_udp_in_tries(MANY, &to, SOON, &[b"Michael", b"Tracy"]);
    result.unwrap();
    assert_eq!(out, b"Hello, Michael!\nHello, Tracy!\n");
    server.join().unwrap();
}

#[test]
fn udp_gives_up_after_its_tries() {
    let (to, server) = udp_server(|socket| {
        for _ in 0..3 {
            hear_datagram(&socket);
        }
        // For one try too many to come in; a client that is right passes whatever the time.
        socket.set_read_timeout(Some(2 * SOON)).unwrap();
        socket.recv_from(&mut [0; 64]).is_err()
    });
    let (out, result) = greet_udp(&to, SOON, &[b"Michael", b"Tracy"]);
    let error = result.unwrap_err();
    assert!(
        matches!(error, Error::Unanswered { tries: 3, .. }),
        "{error:?}"
    );
    assert!(
        text(&error).contains("no reply to Michael, tried 3 times"),
        "{error}"
    );
    assert_eq!((error.exit_code(), out.len()), (1, 0));
    assert!(server.join().unwrap(), "a fourth try");
}

#[test]
fn udp_takes_no_late_reply_for_the_next_names() {
    let (to, server) = udp_server(|socket| {
        let (name, first) = hear_datagram(&socket);
        assert_eq!(hear_datagram(&socket), (name.clone(), first));
        reply(&socket, &name, first);
        // The same name again: only the port tells its reply from the one still owed.
        let second = loop {
            let (again, from) = hear_datagram(&socket);
            assert_eq!(again, name);
            if from != first {
                break from;
            }
        };
        reply(&socket, &name, first);
        // Had that been taken for this one's, no second try would come.
        while hear_datagram(&socket).1 != second {}
        reply(&socket, &name, second);
    });
    let names: [&[u8]; 2] = [b"Michael", b"Michael"];
    let (out, result) = greet_udp_in_tries(MANY, &to, SOON, &names);
    result.unwrap();
    assert_eq!(out, b"Hello, Michael!\nHello, Michael!\n");
    server.join().unwrap();
}

#[test]
fn udp_takes_a_doubled_reply_once() {
    let (to, server) = udp_server(|socket| {
        for _ in 0..3 {
            let (name, from) = hear_datagram(&socket);
            reply(&socket, &name, from);
            reply(&socket, &name, from);
        }
    });
    let (out, result) = greet_udp(&to, PATIENCE, &[b"Michael", b"Tracy", b"Sarah"]);
    result.unwrap();
    assert_eq!(out, b"Hello, Michael!\nHello, Tracy!\nHello, Sarah!\n");
    server.join().unwrap();
}

#[test]
fn udp_listens_to_the_server_alone() {
    let (to, server) = udp_server(|socket| {
        let (name, from) = hear_datagram(&socket);
        let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
        reply(&stranger, b"Mallory", from);
        reply(&socket, &name, from);
    });
    let (out, result) = greet_udp(&to, PATIENCE, &[b"Michael"]);
    result.unwrap();
    assert_eq!(out, b"Hello, Michael!\n");
    server.join().unwrap();
}

#[test]
fn udp_tells_what_came_in_place_of_the_protocol() {
    for (words, shown) in [
        (&b"Hello, Mxchael!"[..], "Hello, Mxchael!"),
        (b"Hello, Michael!\n", "Hello, Michael!\\n"),
        (b"\x1b[2J\xff", "\\u{1b}[2J\\xff"),
        (b"", "the reply to Michael: "),
    ] {
        let (to, server) = udp_server(move |socket| {
            let (_, from) = hear_datagram(&socket);
            socket.send_to(words, from).unwrap();
        });
        let error = greet_udp(&to, PATIENCE, &[b"Michael"]).1.unwrap_err();
        assert!(matches!(error, Error::Unexpected { .. }), "{error:?}");
        assert!(text(&error).ends_with(shown), "{error}");
        server.join().unwrap();
    }
}

#[test]
fn udp_tells_at_once_that_the_port_is_closed() {
    // A connected socket holds its port and takes nothing from anyone but its peer.
    let held = UdpSocket::bind("127.0.0.1:0").unwrap();
    held.connect("127.0.0.1:9").unwrap();
    let to = held.local_addr().unwrap().to_string();
    let start = Instant::now();
    let error = greet_udp(&to, PATIENCE, &[b"Michael"]).1.unwrap_err();
    let service = Service::Udp;
    assert!(
        matches!(&error, Error::Refused { service: s, .. } if *s == service),
        "{error:?}"
    );
    assert!(text(&error).contains("helloop serve"), "{error}");
    assert!(start.elapsed() < PATIENCE, "not by waiting");
}

#[test]
fn udp_says_why_a_greeting_is_not_greeted() {
    let (to, server) = udp_server(|socket| {
        for _ in 0..3 {
            hear_datagram(&socket);
        }
    });
    let error = greet_udp(&to, SOON, &[b"Hello, Michael!"]).1.unwrap_err();
    assert!(text(&error).contains("itself a greeting"), "{error}");
    server.join().unwrap();
}

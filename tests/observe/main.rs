//! What observers receive, over real sockets and in virtual time.

// Tests that need Unix are left out elsewhere.
#![cfg_attr(not(unix), allow(unused_imports))]

mod deadlines;
#[path = "../util/harness.rs"]
mod harness;
#[path = "../http/mod.rs"]
mod http;
mod metrics;
mod moments;
#[cfg(unix)] // a shell limits the descriptors
mod places;
#[path = "../util/script.rs"]
mod script;
#[path = "../util/mod.rs"]
mod util;

use http::{get, observe_address, read_head, read_response, send};
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use util::{Server, ask, connect, expect, read_to_end, run_helloop};

/// The limit of streams.
const MAX_STREAM_OBSERVERS: usize = 16;

/// The limit of connections.
const MAX_OBSERVERS: usize = 128;

fn start(flags: &[&str]) -> (Server, SocketAddr) {
    let server = Server::start(&[&["--observe", "127.0.0.1:0"], flags].concat());
    let address = observe_address(&server);
    (server, address)
}

/// A stream of snapshots, after the response head.
fn stream_snapshots(address: SocketAddr) -> BufReader<TcpStream> {
    let mut stream = connect(address);
    write!(stream, "GET /events HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    let head = read_head(&mut stream);
    assert_eq!(
        (head.status, head.field("content-type")),
        (200, Some("text/event-stream"))
    );
    BufReader::new(stream)
}

fn next_event(stream: &mut BufReader<TcpStream>) -> serde_json::Value {
    let mut line = String::new();
    loop {
        line.clear();
        assert!(stream.read_line(&mut line).unwrap() > 0, "EOF");
        if let Some(json) = line.strip_prefix("data: ") {
            return serde_json::from_str(json).unwrap();
        }
    }
}

/// Waits for a snapshot that satisfies `wanted`.
fn event_with(
    stream: &mut BufReader<TcpStream>,
    wanted: impl Fn(&serde_json::Value) -> bool,
) -> serde_json::Value {
    for _ in 0..300 {
        let event = next_event(stream);
        if wanted(&event) {
            return event;
        }
    }
    panic!("not in 300 snapshots");
}

#[test]
fn the_page_is_complete_and_loads_nothing_from_elsewhere() {
    let (_server, address) = start(&[]);
    let page = get(address, "/");
    assert_eq!(page.status, 200);
    let policy = page.field("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"));
    assert_eq!(page.field("x-content-type-options"), Some("nosniff"));
    for (path, kind) in [("/page.css", "text/css"), ("/page.js", "text/javascript")] {
        let part = get(address, path);
        assert!(part.field("content-type").unwrap().starts_with(kind));
        assert!(
            !part.text().contains("http") && !part.text().contains("innerHTML"),
            "{path}"
        );
        assert!(page.text().contains(&path[1..]), "{path}");
    }
    // The only URL in the page is the XML namespace of the icon.
    let text = page
        .text()
        .replace("xmlns='http://www.w3.org/2000/svg'", "");
    assert!(!text.contains("http:") && !text.contains("https:") && !text.contains("style="));
}

#[test]
fn each_bad_request_gets_its_status() {
    let (server, address) = start(&[]);
    let long = "x".repeat(10_000);
    let host = format!("Host: {address}\r\n");
    let table: &[(String, u16)] = &[
        (format!("GET /nothing HTTP/1.1\r\n{host}\r\n"), 404),
        (format!("GET /slots/x HTTP/1.1\r\n{host}\r\n"), 404),
        (
            format!("GET /slots/99999999999 HTTP/1.1\r\n{host}\r\n"),
            404,
        ),
        (format!("GET /turns/-1 HTTP/1.1\r\n{host}\r\n"), 404),
        (
            format!("POST / HTTP/1.1\r\n{host}Content-Length: 3\r\n\r\nabc"),
            405,
        ),
        (format!("DELETE /metrics HTTP/1.1\r\n{host}\r\n"), 405),
        ("hello\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        (format!("GET / HTTP/1.1\r\n{host}{host}\r\n"), 400),
        (format!("GET /{long}"), 414),
        (format!("GET / HTTP/1.1\r\n{host}X: {long}\r\n\r\n"), 431),
        ("GET / HTTP/2.0\r\n\r\n".to_owned(), 505),
    ];
    for (request, status) in table {
        let response = send(address, request.as_bytes());
        assert_eq!(
            response.status,
            *status,
            "{}",
            &request[..request.len().min(60)]
        );
        let allowed = (*status == 405).then_some("GET, HEAD");
        assert_eq!(response.field("allow"), allowed);
        assert!(
            response.text().starts_with(&status.to_string()),
            "the body repeats the status"
        );
    }
    for hosts in ["", "Host: a\r\nHost: b\r\n"] {
        let response = send(
            address,
            format!("GET /healthz HTTP/1.1\r\n{hosts}\r\n").as_bytes(),
        );
        assert_eq!(response.status, 400);
        assert!(response.text().contains("requires exactly one Host field"));
    }
    // The start of the next request is unknown, so the connection is closed, without a reset.
    let mut stream = connect(address);
    let broken = format!("GET / HTTP/1.1\r\nbroken\r\n\r\n{long}");
    stream.write_all(broken.as_bytes()).unwrap();
    assert_eq!(read_response(&mut stream).status, 400);
    assert_eq!(read_to_end(&mut stream), b"");
    server.assert_serves();
}

#[test]
fn a_connection_is_kept_open_and_requests_can_be_pipelined() {
    let (_server, address) = start(&[]);
    let mut stream = connect(address);
    let two = format!(
        "GET /healthz HTTP/1.1\r\nHost: {address}\r\n\r\nHEAD /metrics HTTP/1.1\r\nHost: {address}\r\n\r\n"
    );
    stream.write_all(two.as_bytes()).unwrap();
    let health = read_response(&mut stream);
    assert_eq!((health.status, health.text().as_str()), (200, "serving\n"));
    let metrics = read_head(&mut stream);
    assert!(
        metrics
            .field("content-length")
            .unwrap()
            .parse::<usize>()
            .unwrap()
            > 1_000
    );
    write!(
        stream,
        "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    assert_eq!(
        read_response(&mut stream).field("connection"),
        Some("close")
    );
    assert_eq!(read_to_end(&mut stream), b"");
    let mut old = connect(address);
    old.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").unwrap();
    assert!(read_to_end(&mut old).ends_with(b"\r\n\r\nserving\n"));
}

#[cfg(unix)] // a signal begins the drain
#[test]
fn health_is_200_while_serving_and_503_while_draining() {
    let (server, address) = start(&["--delay", "2s", "--drain-timeout", "1h"]);
    assert_eq!(get(address, "/healthz").status, 200);
    let mut client = server.connect();
    client.write_all(b"Ada").unwrap();
    server.wait_for_messages(1);
    server.signal(nix::sys::signal::Signal::SIGTERM);
    server.stderr().wait_for("stopping");
    let mut snapshots = stream_snapshots(address);
    let health = get(address, "/healthz");
    assert_eq!((health.status, health.text().as_str()), (503, "draining\n"));
    assert_eq!(next_event(&mut snapshots)["serving"], false);
    expect(&mut client, b"Hello, Ada!");
    // An observer does not keep a drained server running.
    let ended = server.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[test]
fn snapshots_are_complete_and_at_most_ten_per_second() {
    let (server, address) = start(&[]);
    let mut stream = stream_snapshots(address);
    let mut clients: Vec<_> = (0..3).map(|_| server.connect()).collect();
    let event = event_with(&mut stream, |event| event["clients"] == 3);
    // Signals, listener, UDP socket, observer listener, the observer, and three waiting clients.
    assert_eq!(
        (&event["cells"], &event["slots"]),
        (&"SLUE2w3".into(), &8.into())
    );
    assert_eq!(event["generations"], serde_json::json!([0, 8]));
    for key in ["waited", "busy", "observing", "late", "queue_wait"] {
        assert!(event[key].is_f64(), "{key} in {event}");
    }
    // The observer's own connection has a deadline, for its next snapshot; nothing was refused.
    assert_eq!((&event["ready"], &event["timers"]), (&0.into(), &1.into()));
    for key in ["refused", "reset", "timed_out", "buffered"] {
        assert_eq!(event[key], 0, "{key}");
    }
    let mut last = event["at"].as_f64().unwrap();
    for _ in 0..5 {
        let at = next_event(&mut stream)["at"].as_f64().unwrap();
        // In microseconds. Streams get a snapshot at each tenth of a second.
        let tenths = |at: f64| (at / 100_000.0).floor();
        assert!(tenths(at) > tenths(last), "{last} {at}");
        last = at;
    }
    for client in &mut clients {
        ask(client, b"Ada", b"Hello, Ada!");
    }
    let event = event_with(&mut stream, |event| event["messages"] == 3);
    assert_eq!(event["bytes_out"], 3 * (8 + 11));
    let lanes = event["lanes"].as_array().unwrap();
    assert!(lanes.len() > 5 && lanes.len() <= 48);
    assert!(
        lanes
            .windows(2)
            .all(|pair| pair[0][0].as_u64() < pair[1][0].as_u64())
    );
    // What was for observers is a part of the phase; all of it is a part of what was worked.
    let us = |value: &serde_json::Value| value.as_f64().unwrap();
    for lane in lanes {
        assert!(us(&lane[5][1]) <= us(&lane[2][5]), "{lane}");
    }
    assert!(lanes.iter().any(|lane| us(&lane[5][1]) > 0.0), "{lanes:?}");
    assert!(us(&event["observing"]) > 0.0 && us(&event["observing"]) <= us(&event["busy"]));
    assert!(us(&event["waited"]) + us(&event["busy"]) <= us(&event["at"]) + 100_000.0);
    drop(clients);
    let event = event_with(&mut stream, |event| event["clients"] == 0);
    assert_eq!(event["cells"], "SLUE2.3");
    assert_eq!(event["generations"], serde_json::json!([0, 5, 1, 3]));
}

#[test]
fn a_slot_has_a_history() {
    let (server, address) = start(&[]);
    let mut snapshots = stream_snapshots(address);
    next_event(&mut snapshots);
    let mut client = server.connect();
    ask(&mut client, b"Ada", b"Hello, Ada!");
    let history: serde_json::Value =
        serde_json::from_slice(&get(address, "/slots/5").body).unwrap();
    assert_eq!(
        (&history["token"], &history["state"]),
        (&"#5.0".into(), &"waiting".into())
    );
    let lines: Vec<&str> = history["lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["words"].as_str().unwrap())
        .collect();
    assert!(
        lines.contains(&"drive: read 3 B, write 11 B; park"),
        "{lines:?}"
    );
    let none: serde_json::Value =
        serde_json::from_slice(&get(address, "/slots/4000").body).unwrap();
    assert_eq!(none["state"], "free");
}

#[test]
fn streams_over_the_limit_are_refused_until_one_leaves_and_others_are_not() {
    let (server, address) = start(&[]);
    let mut streams: Vec<_> = (0..MAX_STREAM_OBSERVERS)
        .map(|_| stream_snapshots(address))
        .collect();
    let refused = get(address, "/events");
    assert_eq!(
        (refused.status, refused.field("connection")),
        (503, Some("close"))
    );
    for path in ["/", "/healthz", "/metrics"] {
        assert_eq!(get(address, path).status, 200, "{path}");
    }
    server.assert_serves();
    streams.pop();
    // The server notices it in one of its next turns.
    let freed = (0..1_000).any(|_| {
        let mut stream = connect(address);
        write!(stream, "GET /events HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
        read_head(&mut stream).status == 200
    });
    assert!(freed, "refused after one has left");
    for snapshots in &mut streams {
        next_event(snapshots);
    }
}

/// The case that locked observers out for as long as it lasted: streams that are half-closed and
/// never read.
#[test]
fn half_closed_streams_keep_no_place() {
    let (server, address) = start(&[]);
    let half_closed: Vec<_> = (0..2 * MAX_OBSERVERS)
        .map(|_| {
            let mut stream = connect(address);
            write!(stream, "GET /events HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            stream
        })
        .collect();
    for path in ["/", "/healthz", "/metrics"] {
        assert_eq!(get(address, path).status, 200, "{path}");
    }
    next_event(&mut stream_snapshots(address));
    server.assert_serves();
    drop(half_closed);
}

#[test]
fn a_host_must_be_an_address_localhost_or_listed_except_for_the_health_check() {
    let (_server, address) = start(&["--observe-host", "metrics.example,second.example"]);
    let status = |path: &str, host: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        send(address, request.as_bytes()).status
    };
    for path in ["/", "/page.js", "/metrics", "/slots/1", "/nothing"] {
        assert_eq!(status(path, "evil.example"), 421, "{path}");
    }
    assert_eq!(status("/events", "evil.example:9998"), 421);
    for host in [
        "localhost",
        "[::1]:1",
        "Metrics.Example:9998",
        "second.example",
    ] {
        assert_eq!(status("/metrics", host), 200, "{host}");
    }
    assert_eq!(status("/healthz", "evil.example"), 200);
    // HAProxy's httpchk sends no Host.
    let mut old = connect(address);
    old.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!(read_head(&mut old).status, 200);
}

#[test]
fn a_host_without_a_page_or_with_a_port_is_wrong_usage() {
    for flags in [
        &["--observe-host", "metrics.example"][..],
        &[
            "--observe",
            "127.0.0.1:0",
            "--observe-host",
            "metrics.example:9998",
        ],
        &["--observe", "127.0.0.1:0", "--observe-host", ""],
    ] {
        let ended = run_helloop(&[&["serve"], flags].concat());
        assert_eq!(
            (ended.code, ended.stdout.as_str()),
            (Some(2), ""),
            "{flags:?}"
        );
        assert!(ended.stderr.contains("--observe-host"), "{}", ended.stderr);
    }
}

#[test]
fn an_unusable_observe_address_is_reported_before_the_server_listens() {
    let (_server, address) = start(&[]);
    for address in [address.to_string(), format!("{}:1", "x".repeat(300))] {
        let ended = run_helloop(&["serve", "--listen", "127.0.0.1:0", "--observe", &address]);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
        assert!(ended.stderr.contains("--observe takes"), "{}", ended.stderr);
    }
}

//! Faulty servers: each fault is detected and reported.

use crate::{SHORT, microseconds, stress};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// Starts a server that runs `serve` for each connection, in a thread of its own, with the number
/// of the connection.
pub(crate) fn serving(serve: impl Fn(usize, TcpStream) + Copy + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let stream = stream.unwrap();
            thread::spawn(move || serve(number, stream));
        }
    });
    address
}

/// Like [`serving`], after the welcome.
fn welcoming(serve: impl Fn(usize, TcpStream) + Copy + Send + 'static) -> SocketAddr {
    serving(move |number, mut stream| {
        stream.write_all(b"Welcome!").unwrap();
        serve(number, stream);
    })
}

/// Reads one message; `None` at EOF or on an error.
fn read_message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut message = vec![0; 1_024];
    let count = stream.read(&mut message).ok().filter(|count| *count > 0)?;
    message.truncate(count);
    Some(message)
}

/// Sends the greeting of `name`, with `last` as its last byte; `false` if the client is gone.
fn greet(stream: &mut TcpStream, name: &[u8], last: &[u8]) -> bool {
    let reply = [b"Hello, ", name, last].concat();
    stream.write_all(&reply).is_ok()
}

/// Reads one message and answers it correctly; `false` if there was none.
pub(crate) fn answer(stream: &mut TcpStream) -> bool {
    read_message(stream).is_some_and(|name| greet(stream, &name, b"!"))
}

/// The causes of lost clients, with their counts.
fn causes(report: &Value) -> Vec<(String, u64)> {
    let causes = report["clients"]["lost_by_cause"].as_object().unwrap();
    causes
        .iter()
        .map(|(cause, lost)| (cause.clone(), lost.as_u64().unwrap()))
        .collect()
}

#[test]
fn a_wrong_byte_is_reported() {
    let server = welcoming(|number, mut stream| {
        while number != 2 && answer(&mut stream) {}
        let name = read_message(&mut stream).unwrap_or_default();
        greet(&mut stream, &name, b"?");
        read_message(&mut stream);
    });
    let (ended, report) = stress(server, SHORT);
    assert_eq!(ended.code, Some(4));
    assert_eq!(causes(&report), [("wrong bytes".to_owned(), 1)]);
    let words = report["clients"]["wrong_bytes"].as_str().unwrap();
    assert!(words.ends_with('?'), "{words}");
}

#[test]
fn bytes_after_the_reply_are_wrong() {
    let server = welcoming(|_, mut stream| {
        while answer(&mut stream) {
            let _ = stream.write_all(b"Hello, ");
        }
    });
    let (ended, report) = stress(server, SHORT);
    assert_eq!(ended.code, Some(4));
    assert_eq!(causes(&report), [("wrong bytes".to_owned(), 4)]);
}

#[test]
fn a_close_in_the_middle_of_the_run_is_reported() {
    let server = welcoming(|number, mut stream| {
        for _ in 0..3 {
            answer(&mut stream);
        }
        while number > 0 && answer(&mut stream) {}
    });
    let (ended, report) = stress(server, SHORT);
    assert_eq!(ended.code, Some(4));
    let (cause, lost) = causes(&report).remove(0);
    // A close with unread input sends RST.
    assert!(
        ["closed by the server", "reset"].contains(&cause.as_str()),
        "{cause}"
    );
    assert_eq!(lost, 1);
}

#[test]
fn a_server_that_never_answers_times_out() {
    let server = welcoming(|_, mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let (ended, report) = stress(server, &format!("{SHORT} --timeout 400ms"));
    assert_eq!(ended.code, Some(4));
    assert_eq!(causes(&report), [("timed out".to_owned(), 4)]);
    assert_eq!(report["messages"]["unanswered"], 4);
    assert_eq!(report["verdict"]["words"], "measured nothing");
    // An unanswered message counts with the time until its timeout.
    assert!(microseconds(&report["latency"]["max_us"]) >= 300_000.0);
}

#[test]
fn a_server_without_line_endings_is_reported() {
    let server = welcoming(|_, mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let flags = format!("{SHORT} --framing line --timeout 400ms");
    let (ended, report) = stress(server, &flags);
    assert_eq!(ended.code, Some(4));
    assert_eq!(causes(&report), [("timed out".to_owned(), 4)]);
    let verdict = report["verdict"].to_string();
    for words in [
        "4 clients lost: timed out waiting for the welcome\"",
        "4 clients got the welcome without a line ending: does the server use --framing chunk?",
    ] {
        assert!(verdict.contains(words), "{words}: {verdict}");
    }
}

#[test]
fn a_slow_server_is_measured() {
    let server = welcoming(|_, mut stream| {
        while let Some(name) = read_message(&mut stream) {
            thread::sleep(Duration::from_millis(150));
            greet(&mut stream, &name, b"!");
        }
    });
    let (ended, report) = stress(server, SHORT);
    assert_eq!(ended.code, Some(0));
    assert!(microseconds(&report["latency"]["min_us"]) >= 150_000.0);
    // Too few samples for p99.
    assert!(report["latency"]["p99_us"].is_null());
}

#[test]
fn a_wrong_welcome_is_quoted_with_control_characters_escaped() {
    let server = serving(|_, mut stream| {
        let _ = stream.write_all(b"SSH-2.0-\x1b[2Jx\r\n");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let (ended, report) = stress(server, SHORT);
    assert_eq!(ended.code, Some(4));
    assert_eq!(causes(&report), [("wrong welcome".to_owned(), 4)]);
    let words = report["clients"]["wrong_welcome"].as_str().unwrap();
    assert_eq!(words, "SSH-2.0-\\u{1b}[2Jx\\r\\n");
}

#[test]
fn a_server_that_closes_at_once_is_reported() {
    let server = serving(|_, stream| {
        let _ = stream.shutdown(Shutdown::Both);
    });
    let (ended, report) = stress(server, SHORT);
    assert_eq!(ended.code, Some(4));
    assert_eq!(report["clients"]["lost"], 4);
    assert_eq!(report["clients"]["greeted"], 0);
}

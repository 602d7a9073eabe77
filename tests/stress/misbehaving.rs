//! Servers that do not behave, each found out and named.

use crate::{BRIEF, microseconds, stress};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// A server that serves each connection in a thread by `serve`, which gets its number.
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

/// The same, with the welcome that the protocol begins with.
fn welcoming(serve: impl Fn(usize, TcpStream) + Copy + Send + 'static) -> SocketAddr {
    serving(move |number, mut stream| {
        stream.write_all(b"Welcome!").unwrap();
        serve(number, stream);
    })
}

/// Reads one message. `None`: there is none any more.
fn hear(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut message = vec![0; 1_024];
    let count = stream.read(&mut message).ok().filter(|count| *count > 0)?;
    message.truncate(count);
    Some(message)
}

/// Greets `name`, with `last` for the greeting's last byte. `false`: nobody takes it.
fn say(stream: &mut TcpStream, name: &[u8], last: &[u8]) -> bool {
    let reply = [b"Hello, ", name, last].concat();
    stream.write_all(&reply).is_ok()
}

/// Reads one message, and answers it as the protocol has it. `false`: there was none.
pub(crate) fn answer(stream: &mut TcpStream) -> bool {
    hear(stream).is_some_and(|name| say(stream, &name, b"!"))
}

/// The causes of lost clients in a report.
fn causes(report: &Value) -> Vec<(String, u64)> {
    let causes = report["clients"]["lost_by_cause"].as_object().unwrap();
    causes
        .iter()
        .map(|(cause, lost)| (cause.clone(), lost.as_u64().unwrap()))
        .collect()
}

#[test]
fn a_wrong_byte_is_found() {
    let server = welcoming(|number, mut stream| {
        while number != 2 && answer(&mut stream) {}
        let name = hear(&mut stream).unwrap_or_default();
        say(&mut stream, &name, b"?");
        hear(&mut stream);
    });
    let (ended, report) = stress(server, BRIEF);
    assert_eq!(ended.code, Some(4));
    assert_eq!(causes(&report), [("wrong bytes".to_owned(), 1)]);
    let words = report["clients"]["wrong_bytes"].as_str().unwrap();
    assert!(words.ends_with('?'), "{words}");
}

#[test]
fn more_than_was_asked_for_is_wrong() {
    let server = welcoming(|_, mut stream| {
        while answer(&mut stream) {
            let _ = stream.write_all(b"Hello, ");
        }
    });
    let (ended, report) = stress(server, BRIEF);
    assert_eq!(ended.code, Some(4));
    assert_eq!(causes(&report), [("wrong bytes".to_owned(), 4)]);
}

#[test]
fn a_server_that_closes_midway_is_found() {
    let server = welcoming(|number, mut stream| {
        for _ in 0..3 {
            answer(&mut stream);
        }
        while number > 0 && answer(&mut stream) {}
    });
    let (ended, report) = stress(server, BRIEF);
    assert_eq!(ended.code, Some(4));
    let (cause, lost) = causes(&report).remove(0);
    // Closing with a message unread is a reset.
    assert!(
        ["closed by the server", "reset"].contains(&cause.as_str()),
        "{cause}"
    );
    assert_eq!(lost, 1);
}

#[test]
fn a_server_that_never_answers_is_found_and_the_run_ends() {
    let server = welcoming(|_, mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let (ended, report) = stress(server, &format!("{BRIEF} --timeout 400ms"));
    assert_eq!(ended.code, Some(4));
    assert_eq!(causes(&report), [("timed out".to_owned(), 4)]);
    assert_eq!(report["messages"]["unanswered"], 4);
    assert_eq!(report["verdict"]["words"], "measured nothing");
    // What was waited for in vain took at least that long.
    assert!(microseconds(&report["latency"]["max_us"]) >= 300_000.0);
}

#[test]
fn a_server_that_does_not_speak_in_lines_is_found() {
    let server = welcoming(|_, mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let flags = format!("{BRIEF} --framing line --timeout 400ms");
    let (ended, report) = stress(server, &flags);
    assert_eq!(ended.code, Some(4));
    assert_eq!(causes(&report), [("timed out".to_owned(), 4)]);
    let told = report["verdict"].to_string();
    assert!(told.contains("4 clients lacked"), "{told}");
    assert!(told.contains("try --framing chunk"), "{told}");
}

#[test]
fn a_server_that_answers_late_is_measured() {
    let server = welcoming(|_, mut stream| {
        while let Some(name) = hear(&mut stream) {
            thread::sleep(Duration::from_millis(150));
            say(&mut stream, &name, b"!");
        }
    });
    let (ended, report) = stress(server, BRIEF);
    assert_eq!(ended.code, Some(0));
    assert!(microseconds(&report["latency"]["min_us"]) >= 150_000.0);
    // Too few samples for any percentile but what there is.
    assert!(report["latency"]["p99_us"].is_null());
}

#[test]
fn something_else_for_the_welcome_is_found_and_shown_safely() {
    let server = serving(|_, mut stream| {
        let _ = stream.write_all(b"SSH-2.0-\x1b[2Jx\r\n");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let (ended, report) = stress(server, BRIEF);
    assert_eq!(ended.code, Some(4));
    assert_eq!(causes(&report), [("wrong welcome".to_owned(), 4)]);
    let words = report["clients"]["wrong_welcome"].as_str().unwrap();
    assert_eq!(words, "SSH-2.0-\\u{1b}[2Jx\\r\\n");
}

#[test]
fn a_server_that_hangs_up_at_once_is_found() {
    let server = serving(|_, stream| {
        let _ = stream.shutdown(Shutdown::Both);
    });
    let (ended, report) = stress(server, BRIEF);
    assert_eq!(ended.code, Some(4));
    assert_eq!(report["clients"]["lost"], 4);
    assert_eq!(report["clients"]["greeted"], 0);
}

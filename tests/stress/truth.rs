//! The figures of a report, compared with what the server itself has counted.
//!
//! The server is a set of threads of the test: it delays replies by known times, and notes when it
//! received each message and when it answered.

use crate::timing::measured;
use crate::{microseconds, run, spawned, start, stress, with_report};
#[cfg(unix)]
use nix::sys::signal::Signal;
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

/// What the server does with a message.
#[derive(Clone, Copy, Debug)]
enum Answer {
    After(Duration),
    Never,
    Close,
}

/// What it does with each message of a client, by the number of the message.
type Rule = fn(u64) -> Answer;

#[derive(Clone, Copy, Debug)]
struct Message {
    received: Instant,
    answered: Option<Instant>,
}

/// A server that counts.
#[derive(Clone, Debug, Default)]
struct Counting {
    messages: Arc<(Mutex<Vec<Message>>, Condvar)>,
}

impl Counting {
    fn start(rule: Rule) -> (Self, SocketAddr) {
        let counting = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = counting.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (server, stream) = (server.clone(), stream.unwrap());
                thread::spawn(move || server.serve(stream, rule));
            }
        });
        (counting, address)
    }

    /// Until the client or the rule ends it.
    fn serve(&self, mut stream: TcpStream, rule: Rule) {
        stream.set_nodelay(true).unwrap();
        let _ = stream.write_all(b"Welcome!");
        let mut name = [0; 1_024];
        for number in 0.. {
            let Ok(count @ 1..) = stream.read(&mut name) else {
                return;
            };
            let received = Instant::now();
            let index = {
                let mut messages = self.lock();
                messages.push(Message {
                    received,
                    answered: None,
                });
                messages.len() - 1
            };
            self.messages.1.notify_all();
            match rule(number) {
                Answer::After(delay) => thread::sleep(delay),
                Answer::Never => {
                    let _ = stream.read(&mut name);
                    return;
                }
                Answer::Close => return,
            }
            // Before the write, so that the client does not know of an answer earlier.
            self.lock()[index].answered = Some(Instant::now());
            let reply = [b"Hello, ", &name[..count], b"!"].concat();
            if stream.write_all(&reply).is_err() {
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Message>> {
        self.messages.0.lock().unwrap()
    }

    fn wait_for_messages(&self, count: usize) {
        let messages = self.lock();
        let waiting = |messages: &mut Vec<Message>| messages.len() < count;
        let timeout = crate::util::TIMEOUT;
        let waited = self
            .messages
            .1
            .wait_timeout_while(messages, timeout, waiting);
        assert!(!waited.unwrap().1.timed_out());
    }

    /// When it received the first message: the clients began to send then.
    fn began(&self) -> Instant {
        self.lock()
            .iter()
            .map(|message| message.received)
            .min()
            .unwrap()
    }

    /// Replies sent from `start` on, within `length`.
    fn replies_within(&self, start: Instant, length: Duration) -> u64 {
        let messages = self.lock();
        let answered = messages.iter().filter_map(|message| message.answered);
        answered
            .filter(|at| (start..start + length).contains(at))
            .count() as u64
    }

    fn replies(&self) -> u64 {
        self.lock()
            .iter()
            .filter(|message| message.answered.is_some())
            .count() as u64
    }

    /// The time that the slowest `share` of the messages took at least, in microseconds.
    fn quantile(&self, share: f64) -> f64 {
        let messages = self.lock();
        let took = messages
            .iter()
            .filter_map(|message| Some(message.answered?.duration_since(message.received)));
        let mut took: Vec<_> = took.collect();
        took.sort_unstable();
        let rank = (took.len() as f64 * share) as usize;
        took[rank].as_secs_f64() * 1e6
    }
}

#[track_caller]
fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("not a number: {value}"))
}

/// 90% of the replies take 10 ms, and 10% take 40 ms.
#[test]
fn rate_and_percentiles_are_those_that_the_server_counted() {
    measured("rate, p50 and p99 agree with the server's", || {
        let (counting, to) = Counting::start(|number| {
            let milliseconds = if number % 10 == 9 { 40 } else { 10 };
            Answer::After(Duration::from_millis(milliseconds))
        });
        let flags = "--clients 8 --warmup 500ms --duration 2s";
        let (ended, report) = stress(to, flags);
        assert_eq!(ended.code, Some(0), "{ended:#?}");
        let (messages, latency) = (&report["messages"], &report["latency"]);
        assert_eq!(messages["seconds"], 2.0);
        assert_eq!(messages["sent"], messages["answered"]);
        assert_eq!(latency["samples"], messages["answered"]);
        let start = counting.began() + Duration::from_millis(500);
        let counted = counting.replies_within(start, Duration::from_secs(2));
        let replies = number(&messages["replies"]);
        // One reply of each client is near an end of the window.
        if replies.abs_diff(counted) > 16 {
            return Err(format!("{replies} replies, {counted} counted"));
        }
        assert_eq!(messages["per_second"].as_f64(), Some(replies as f64 / 2.0));
        for (key, share) in [
            ("p50_us", 0.5),
            ("p75_us", 0.75),
            ("p95_us", 0.95),
            ("p99_us", 0.99),
        ] {
            let (found, counted) = (&latency[key], counting.quantile(share));
            // A client sees what the server does and the way; the warm-up is among the server's.
            let Some(found) = found.as_f64() else {
                return Err(format!("no {key}: {latency}"));
            };
            if !(counted * 0.9..counted * 1.2 + 2_000.0).contains(&found) {
                return Err(format!("{key} {found}, {counted} counted"));
            }
        }
        Ok(())
    });
}

/// Four clients are answered 100 times, and then their server is gone.
#[test]
fn a_server_that_ends_early_has_the_rate_that_it_had() {
    let (counting, to) = Counting::start(|number| match number {
        0..100 => Answer::After(Duration::from_millis(5)),
        _ => Answer::Close,
    });
    let (ended, report) = stress(to, "--clients 4 --warmup 0s --duration 60s");
    assert_eq!(ended.code, Some(4), "{ended:#?}");
    let messages = &report["messages"];
    assert_eq!(messages["replies"], counting.replies());
    assert_eq!(messages["answered"], 400);
    // Those sent after the last reply: none of them timed out.
    assert_eq!(
        (&messages["unanswered"], &messages["timed_out"]),
        (&4.into(), &0.into())
    );
    assert_eq!(report["latency"]["samples"], 400);
    assert!(
        microseconds(&report["latency"]["min_us"]) >= 5_000.0,
        "{report}"
    );
    let last = counting.lock().iter().map(|message| message.received).max();
    let counted = 400.0 / (last.unwrap() - counting.began()).as_secs_f64();
    let per_second = messages["per_second"].as_f64().unwrap();
    assert!(
        (0.7..1.05).contains(&(per_second / counted)),
        "{per_second} {counted}"
    );
}

/// Each of five clients is answered once, and then waits.
#[cfg(unix)] // a signal ends the load
#[test]
fn an_interrupt_leaves_messages_in_flight_and_blames_no_one() {
    let rule: Rule = |number| match number {
        0 => Answer::After(Duration::from_millis(300)),
        _ => Answer::Never,
    };
    let flags = "--clients 5 --warmup 0s --duration 60s";
    for rate in ["", "--rate 1000"] {
        let (counting, to) = Counting::start(rule);
        let load = start(&format!("--to {to} {flags} --json - {rate}"));
        counting.wait_for_messages(10);
        load.signal(Signal::SIGINT);
        let (ended, report) = with_report(load.wait());
        assert_eq!(ended.code, Some(130), "{ended:#?}");
        let messages = &report["messages"];
        assert_eq!(
            (&messages["answered"], &messages["unanswered"]),
            (&5.into(), &0.into())
        );
        let in_flight = number(&messages["in_flight"]);
        assert_eq!(in_flight, 5, "{messages}");
        // By schedule, further messages were due.
        let not_sent = number(&messages["not_sent"]);
        match messages["due"].as_u64() {
            None => assert_eq!((rate, not_sent), ("", 0)),
            Some(due) => assert_eq!(due, 10 + not_sent),
        }
        assert_eq!(report["latency"]["samples"], 5);
        assert!(microseconds(&report["latency"]["min_us"]) >= 300_000.0);
        let verdict = &report["verdict"];
        assert_eq!(verdict["shortcomings"], serde_json::json!([]), "{verdict}");
        let words = verdict["words"].as_str().unwrap();
        assert!(words.starts_with("interrupted after "), "{words}");
        assert!(words.contains("s of 60s"), "{words}");
    }
}

/// Two clients, each answered a hundred times a second.
#[test]
fn a_missed_rate_is_not_achieved() {
    let (counting, to) = Counting::start(|_| Answer::After(Duration::from_millis(10)));
    let flags = "--clients 2 --warmup 0s --duration 500ms --rate 1000";
    let (ended, report) = stress(to, flags);
    assert_eq!(ended.code, Some(4), "{ended:#?}");
    let messages = &report["messages"];
    assert_eq!(
        (&messages["due"], &messages["answered"]),
        (&500.into(), &500.into())
    );
    let counted = counting.replies_within(counting.began(), Duration::from_millis(500));
    let replies = number(&messages["replies"]);
    assert!(replies.abs_diff(counted) <= 10, "{replies} {counted}");
    let shortcomings = &report["verdict"]["shortcomings"];
    let expected = format!("{}/s of 1000/s", replies * 2);
    assert_eq!(shortcomings, &serde_json::json!([expected]));
}

#[test]
fn a_report_shows_the_rate_beside_the_requested_one() {
    measured("the rate is achieved", || {
        let flags = "--spawn --clients 100 --rate 40 --duration 1s --warmup 0s --slo max<60s";
        let ended = run(&format!("{flags} -- --delay 10ms"));
        // Sixty of the clients have no message to send.
        for words in [
            "100 greeted, 40 sent, 40 answered",
            "40 due, 40 sent, 40 answered, 0 unanswered",
            "/s achieved of 40/s requested (",
            "server flags: --delay 10ms --framing=chunk",
            "slo        max<60s: met (",
            "load generator: ",
            "event-loop lag: mean ",
        ] {
            assert!(ended.stdout.contains(words), "{words}: {}", ended.stdout);
        }
        assert!(!ended.stdout.contains('\u{1b}'), "a pipe has no colours");
        // The server counts what the report leaves out.
        let summary = "the server, with the warm-up: served 100 clients, 40 messages";
        assert!(ended.stderr.contains(summary), "{ended:#?}");
        let achieved = "40/s achieved of 40/s requested (100.0%): 40 replies in 1.00s";
        let is_achieved = ended.code == Some(0) && ended.stdout.contains(achieved);
        is_achieved.then_some(()).ok_or(ended.stdout)
    });
}

#[test]
fn idle_clients_alone_are_a_run() {
    let flags = "--clients 20 --active 0 --duration 300ms --warmup 0s";
    let (ended, report) = spawned(flags);
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert_eq!(report["verdict"]["words"], "held idle clients");
    assert_eq!(report["messages"]["seconds"], 0.3);
    assert_eq!(
        report["plan"]["server_flags"],
        serde_json::json!(["--framing=chunk"])
    );
    // Idle clients that are lost are a fault.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = stream.unwrap().write_all(b"Welcome!");
        }
    });
    let (ended, report) = stress(to, "--clients 3 --active 0 --duration 60s --warmup 0s");
    assert_eq!(ended.code, Some(4), "{ended:#?}");
    assert_eq!(report["clients"]["lost"], 3);
}

#[test]
fn a_silent_udp_address_answers_nothing() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = silent.local_addr().unwrap();
    let flags = "--udp --clients 2 --duration 300ms --warmup 0s --timeout 200ms";
    let ended = run(&format!("--to {to} {flags}"));
    assert_eq!(ended.code, Some(4), "{ended:#?}");
    let words = format!("NOT ACHIEVED: nothing answers at {to}");
    assert!(ended.stdout.contains(&words), "{}", ended.stdout);
    assert!(ended.stdout.contains("2 opened"), "{}", ended.stdout);
    assert!(!ended.stdout.contains("connects"), "{}", ended.stdout);
}

//! `helloop stress --find-rate`, against a server whose highest rate is known.

mod util;

use serde_json::Value;
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use util::{Ended, run_helloop};

/// Messages per second that the server answers at once.
const CAPACITY_MESSAGES: f64 = 1_000.0;

/// Messages that it answers at once beyond that rate: more than a load generator that is delayed
/// for 100 ms sends together.
const BURST_MESSAGES: f64 = 100.0;

/// How late it answers all others.
const DELAY: Duration = Duration::from_millis(400);

/// A UDP server with a token bucket: a datagram that finds no token is answered late.
struct LimitedServer {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl LimitedServer {
    fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(1)))
            .unwrap();
        let address = socket.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || serve(&socket, &stopped));
        Self {
            address,
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for LimitedServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(socket: &UdpSocket, stop: &AtomicBool) {
    let (mut tokens, mut filled) = (BURST_MESSAGES, Instant::now());
    let mut late: VecDeque<(Instant, SocketAddr, Vec<u8>)> = VecDeque::new();
    let mut buffer = [0; 1_024];
    while !stop.load(Ordering::Relaxed) {
        let received = socket.recv_from(&mut buffer);
        let now = Instant::now();
        tokens = (tokens + (now - filled).as_secs_f64() * CAPACITY_MESSAGES).min(BURST_MESSAGES);
        filled = now;
        match received {
            Ok((count, client)) => {
                let reply = [b"Hello, ", &buffer[..count], b"!"].concat();
                if tokens >= 1.0 {
                    tokens -= 1.0;
                    let _ = socket.send_to(&reply, client);
                } else {
                    late.push_back((now + DELAY, client, reply));
                }
            }
            Err(error) => assert!(
                matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
                "{error}"
            ),
        }
        while let Some((due, client, reply)) = late.front()
            && *due <= now
        {
            let _ = socket.send_to(reply, *client);
            late.pop_front();
        }
    }
}

fn search(server: &LimitedServer, slo: &str, form: &[&str]) -> Ended {
    let to = server.address.to_string();
    let flags = [
        "stress",
        "--udp",
        "--to",
        &to,
        "--find-rate",
        "--slo",
        slo,
        "--clients",
        "200",
        "--duration",
        "300ms",
        "--warmup",
        "0s",
        "--timeout",
        "2s",
    ];
    run_helloop(&[&flags, form].concat())
}

fn find_rate(server: &LimitedServer, slo: &str) -> (Option<i32>, Value) {
    let ended = search(server, slo, &["--json", "-"]);
    let found = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:#?}"));
    (ended.code, found)
}

/// At R messages per second for 0.3 s the server answers `300 + BURST_MESSAGES` at once, so p90 is
/// late from 1,481 messages per second on.
#[test]
fn the_highest_rate_is_that_of_the_server() {
    let server = LimitedServer::start();
    let (code, found) = find_rate(&server, "p90<200ms");
    assert_eq!(code, Some(0), "{found:#}");
    let highest = found["highest_rate"].as_u64().expect("a rate held");
    // Far below, if this machine was busy; at most as much above as the bucket's refill allows.
    assert!((600..=1_600).contains(&highest), "{found:#}");
    let missed = found["lowest_missed_rate"].as_u64().expect("one missed");
    assert!(missed as f64 <= highest as f64 * 1.06, "{found:#}");
    for step in found["steps"].as_array().unwrap() {
        let held = step["outcome"] == "held";
        let rate = step["rate"].as_u64().unwrap();
        assert!(rate < 3_000 || !held, "{step:#}");
        assert_eq!(held, step["slos"][0]["met"] == true, "{step:#}");
    }
}

/// Checks that the text has a line for each step, and the result last.
#[track_caller]
fn assert_is_search(text: &str) {
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let [first, steps @ .., last] = lines.as_slice() else {
        panic!("{text}");
    };
    assert_eq!(first[0], "find-rate", "{text}");
    for step in steps {
        let is_step = step[0].ends_with("/s")
            && ["held", "missed"].contains(&step[1])
            && (step[3], step[4], step[6]) == ("answered", "p50", "p99");
        assert!(is_step, "{step:?} in {text}");
    }
    assert_eq!(last[0], "result", "{text}");
    let result = last[1..].join(" ");
    // The second form: the load generator was the limit.
    let rate = result
        .split_once(" messages/s is the highest rate that held;")
        .or_else(|| result.strip_prefix("at least ")?.split_once(" messages/s;"));
    let (rate, _) = rate.unwrap_or_else(|| panic!("{text}"));
    let held = steps.iter().filter(|step| step[1] == "held");
    let highest = held.map(|step| step[0].trim_end_matches("/s").parse::<u64>().unwrap());
    assert_eq!(rate.parse().ok(), highest.max(), "{text}");
}

#[test]
fn the_text_has_each_step_and_the_result_as_in_the_readme() {
    let server = LimitedServer::start();
    let ended = search(&server, "p90<200ms", &[]);
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert_is_search(ended.stdout.trim_end());
    let commands = util::readme::commands();
    let shown = commands
        .iter()
        .find(|command| command.typed.contains("--find-rate"));
    assert_is_search(shown.expect("the README has it").output.trim_end());
}

#[test]
fn an_objective_that_no_rate_meets_is_exit_code_3() {
    let server = LimitedServer::start();
    let (code, found) = find_rate(&server, "min<1ns");
    assert_eq!(code, Some(3), "{found:#}");
    assert_eq!(found["highest_rate"], Value::Null);
}

#[test]
fn without_a_server_there_is_no_search() {
    // No port of this address is ever listened on: the socket is bound and nothing else.
    let unused = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let to = unused.local_addr().unwrap().to_string();
    let ended = run_helloop(&["stress", "--to", &to, "--find-rate", "--slo", "p99<5ms"]);
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    assert!(ended.stderr.contains("no server listens"), "{ended:#?}");
}

#[test]
fn the_search_needs_an_objective_that_it_can_vary_the_rate_for() {
    for flags in [
        &["stress", "--find-rate"][..],
        &["stress", "--find-rate", "--slo", "rate>1000"],
        &["stress", "--find-rate", "--slo", "p99<5ms", "--rate", "5"],
    ] {
        let ended = run_helloop(flags);
        assert_eq!(ended.code, Some(2), "{ended:#?}");
        assert!(ended.stderr.contains("--find-rate"), "{ended:#?}");
    }
}

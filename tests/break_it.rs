//! The runs behind the guide's chapter "Break it": naive code that ignores one pitfall, beside the
//! real server. Both run on the real reactor, in virtual time unless the kernel is needed.
//!
//! Each test asserts what its section claims, and compares everything else with the text that the
//! chapter includes. To write those texts again: `BLESS=1 cargo test --test break_it`.

#[path = "break_it/events.rs"]
mod events;
#[path = "break_it/harness.rs"]
mod harness;
#[path = "break_it/naive.rs"]
mod naive;
#[path = "break_it/naive_server.rs"]
mod naive_server;
#[path = "break_it/replies.rs"]
mod replies;
#[path = "util/script.rs"]
mod script;
#[path = "break_it/text.rs"]
mod text;
mod util;

use harness::{Harness, Program};
use helloop::reactor::Time;
use helloop::testing::observe::CallStats;
use helloop::testing::observe::EventKind;
use script::Remote;

/// What the program has sent to this client.
fn sent_to(client: &Remote) -> String {
    String::from_utf8(client.borrow().written.clone()).unwrap()
}

fn is_open(client: &Remote) -> bool {
    !client.borrow().closed
}

/// The client sends `bytes`.
fn send(client: &Remote, bytes: &[u8]) {
    client.borrow_mut().arrive(bytes, false);
}

/// The client sends `bytes` and FIN.
fn send_and_finish(client: &Remote, bytes: &[u8]) {
    client.borrow_mut().arrive(bytes, true);
}

/// What each call of a source did, in order, with its time.
fn calls<P: Program>(harness: &Harness<P>) -> Vec<(Time, CallStats)> {
    let stats_of = |kind: EventKind| match kind {
        EventKind::Called { call, .. } => Some(call.stats),
        _ => None,
    };
    let entries = harness.entries();
    entries
        .filter_map(|entry| Some((entry.at, stats_of(entry.kind)?)))
        .collect()
}

const CHAPTER: &str = include_str!("../src/guide/break_it.rs");

/// The chapter shows all of `naive.rs`, line by line, and nothing else.
#[test]
fn the_naive_code_shown_is_the_code_that_ran() {
    let ran = include_str!("break_it/naive.rs").replace("pub fn", "fn");
    let ran: Vec<&str> = ran.split("\n\n").map(str::trim_end).collect();
    let mut shown = Vec::new();
    for fenced in CHAPTER.split("//! ```rust\n").skip(1) {
        let (code, _) = fenced.split_once("//! ```\n").expect("the fence ends");
        let lines = code.lines().filter_map(|line| line.strip_prefix("//!"));
        let lines = lines.map(|line| line.strip_prefix(' ').unwrap_or(line));
        let code: Vec<&str> = lines.filter(|line| !line.starts_with('#')).collect();
        shown.extend(code.join("\n").split("\n\n").map(str::to_owned));
    }
    for function in &shown {
        assert!(ran.contains(&function.as_str()), "has not run:\n{function}");
    }
    for function in ran.iter().filter(|piece| piece.starts_with("fn ")) {
        assert!(
            shown.iter().any(|shown| shown == function),
            "is not shown:\n{function}"
        );
    }
}

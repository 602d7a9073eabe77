//! EventKind a run shows where a pitfall is not handled, beside what it shows here: the figures and
//! ladders of the guide's chapter "Break it". The naive code runs under the real reactor, in
//! virtual time where no kernel is needed.
//!
//! Each test asserts what matters and compares the rest with the text that the guide includes;
//! `BLESS=1 cargo test --test break_it` writes those texts anew.

#[path = "break_it/naive.rs"]
mod naive;
#[path = "break_it/program.rs"]
mod program;
#[path = "util/script.rs"]
mod script;
#[path = "break_it/stage.rs"]
mod stage;
#[path = "break_it/text.rs"]
mod text;
#[path = "break_it/turns.rs"]
mod turns;
mod util;
#[path = "break_it/words.rs"]
mod words;

use helloop::observe::describe::CallStats;
use helloop::observe::recorder::EventKind;
use helloop::reactor::Time;
use script::Remote;
use stage::{Program, Stage};

fn text_of(far_end: &Remote) -> String {
    String::from_utf8(far_end.borrow().written.clone()).unwrap()
}

fn is_open(far_end: &Remote) -> bool {
    !far_end.borrow().closed
}

fn say(far_end: &Remote, words: &[u8]) {
    far_end.borrow_mut().arrive(words, false);
}

fn say_last(far_end: &Remote, words: &[u8]) {
    far_end.borrow_mut().arrive(words, true);
}

/// EventKind the calls of sources did, in order, with the time of each.
fn deeds<P: Program>(stage: &Stage<P>) -> Vec<(Time, CallStats)> {
    let called = |what| match what {
        EventKind::Called { did, .. } => Some(did),
        _ => None,
    };
    let entries = stage.entries();
    entries
        .filter_map(|entry| Some((entry.at, called(entry.what)?)))
        .collect()
}

const CHAPTER: &str = include_str!("../src/guide/break_it.rs");

/// EventKind the chapter shows as naive code is what has run here, line by line, and all of it.
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

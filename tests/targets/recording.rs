//! Fuzz target: the recordings that `helloop show` reads. Whatever is in the file, what is printed
//! cannot control the terminal, and what was read can be written and read again.
//!
//! The input is the file, or a script of events with any names and numbers.

use crate::input::Input;
use helloop::testing::observe::{Filter, TokenFilter, show};
use helloop::testing::trace;
use serde_json::{Value, json};

pub(crate) fn run(bytes: &[u8]) {
    let mut input = Input(bytes);
    let mode = input.byte();
    let filter = match mode & 3 {
        1 => Filter {
            turn: Some(1),
            token: None,
        },
        2 => Filter {
            turn: None,
            token: Some(TokenFilter {
                key: 1,
                generation: Some(0),
            }),
        },
        _ => Filter::default(),
    };
    let recording = match mode & 4 {
        0 => input.0.to_vec(),
        _ => recording_of(&mut input),
    };
    let mut out = Vec::new();
    let shown = show(&recording[..], filter, &mut out);
    let out = String::from_utf8(out).unwrap();
    for line in out.lines() {
        assert!(!line.contains(char::is_control), "{line:?}");
    }
    if let Err(error) = shown {
        let error = error.to_string();
        assert!(!error.contains(char::is_control), "{error:?}");
    }
    if let Ok(events) = trace::read(&recording[..]) {
        for event in events {
            let written = serde_json::to_string(&event).unwrap();
            let again: trace::Event = serde_json::from_str(&written).unwrap();
            assert_eq!((again.name, again.tid), (event.name, event.tid));
        }
    }
}

/// A recording whose events have the fields that they should have.
fn recording_of(input: &mut Input<'_>) -> Vec<u8> {
    let mut events = Vec::new();
    while !input.is_empty() {
        events.push(event_of(input));
    }
    json!({ "traceEvents": events }).to_string().into_bytes()
}

fn event_of(input: &mut Input<'_>) -> Value {
    let kind = input.index(10);
    let length = input.index(16);
    let name = String::from_utf8_lossy(input.take(length)).into_owned();
    let bytes = input.take(8).try_into().unwrap_or_default();
    let (number, count) = (f64::from_le_bytes(bytes), u64::from_le_bytes(bytes));
    let token = format!("#{}.{}", input.byte(), input.byte());
    let state = input.pick(&["listener", "waiting", "owed", "held", "lingering"]);
    let readiness = input.pick(&["", "readable", "readable+writable", "writable+closed"]);
    let (category, arguments) = match kind {
        0 => ("name", json!({ "name": name })),
        1 => ("turn", json!({ "turn": count })),
        2 => ("wait", json!({ "timeout_us": number })),
        3 => ("phase", json!({})),
        4 => (
            "mark",
            json!({ "token": token, "readiness": readiness, "current": count & 1 == 1 }),
        ),
        5 => ("born", json!({ "token": token, "state": state })),
        6 => ("died", json!({ "token": token })),
        7 => ("count", json!({ "value": count })),
        8 => ("state", json!({})),
        _ => (
            "call",
            json!({
                "token": token,
                "did": { "reads": count as u32, "bytes_in": (count >> 32) as u32 },
                "before": readiness,
                "after": input.pick(&["", "readable", "writable"]),
                "verdict": input.pick(&["park", "hold", "again", "close"]),
                "was": state,
                "is": input.pick(&["waiting", "ending"]),
            }),
        ),
    };
    json!({
        "name": name,
        "ph": input.pick(&["X", "i", "C", "M"]),
        "ts": if number.is_finite() { number } else { 0.0 },
        "pid": 1,
        "tid": count & 3,
        "cat": category,
        "args": arguments,
    })
}

//! What the page derives from snapshots: the work of clients, the turns around a moment, and the end.

use crate::http::get;
use crate::util::ask;
use crate::{event_with, next_event, start, stream_snapshots};
use std::io::{Read, Write};

/// The states of all slots: a letter each, as in a snapshot.
fn cells(snapshot: &serde_json::Value) -> Vec<char> {
    let mut cells = Vec::new();
    let text = snapshot["cells"].as_str().unwrap();
    let mut rest = text.chars().peekable();
    while let Some(letter) = rest.next() {
        let mut digits = String::new();
        while let Some(digit) = rest.next_if(char::is_ascii_digit) {
            digits.push(digit);
        }
        cells.extend(std::iter::repeat_n(letter, digits.parse().unwrap_or(1)));
    }
    cells
}

/// What the page does with its turns while it is paused: the entries between two snapshots lead from
/// one to the other, whatever happened between them.
#[test]
fn the_entries_between_two_snapshots_lead_from_one_to_the_other() {
    let (server, address) = start(&["--delay", "50ms"]);
    let mut stream = stream_snapshots(address);
    let moment = |event: &serde_json::Value| event["recorded"].as_u64().unwrap();
    let mut clients: Vec<_> = (0..20).map(|_| server.connect()).collect();
    let before = event_with(&mut stream, |event| event["clients"] == 20);
    let mut state = cells(&before);
    clients.truncate(10);
    clients.extend((0..15).map(|_| server.connect()));
    for client in &mut clients {
        client.write_all(b"Ada").unwrap();
    }
    let after = event_with(&mut stream, |event| {
        event["messages"] == 25 && moment(event) > moment(&before) + 100
    });
    let excerpt = get(address, &format!("/turns/{}", moment(&after)));
    assert_eq!(excerpt.field("content-type"), Some("application/json"));
    let excerpt: serde_json::Value = serde_json::from_slice(&excerpt.body).unwrap();
    let first = excerpt["first"].as_u64().unwrap();
    assert!(first <= moment(&before), "{first}");
    let entries = excerpt["entries"].as_array().unwrap();
    let range = (moment(&before) - first) as usize..(moment(&after) - first) as usize;
    for entry in &entries[range] {
        let kind = entry[1].as_str().unwrap();
        if !["c", "b", "d"].contains(&kind) {
            continue;
        }
        let slot = entry[2].as_u64().unwrap() as usize;
        state.resize(state.len().max(slot + 1), '.');
        let is = entry[5]
            .as_str()
            .map_or('.', |is| is.chars().next().unwrap());
        if kind == "c" {
            assert_eq!(entry[6], state[slot].to_string(), "{entry}");
        }
        state[slot] = is;
    }
    let text = |cells: Vec<char>| cells.into_iter().collect::<String>();
    assert_eq!(text(state), text(cells(&after)));
}

/// The bits of a turn in a snapshot: the phases in which clients had work.
fn work_of_clients(event: &serde_json::Value) -> u64 {
    let lanes = event["lanes"].as_array().unwrap().iter();
    lanes.fold(0, |bits, lane| bits | lane[6].as_u64().unwrap())
}

#[test]
fn work_for_observers_is_not_shown_as_work_of_clients() {
    let (server, address) = start(&[]);
    let mut stream = stream_snapshots(address);
    next_event(&mut stream);
    // Observers connect, ask and leave.
    for _ in 0..5 {
        get(address, "/slots/1");
    }
    let event = event_with(&mut stream, |event| event["turns"].as_u64().unwrap() > 20);
    assert_eq!(work_of_clients(&event), 0, "{event}");
    let mut client = server.connect();
    ask(&mut client, b"Ada", b"Hello, Ada!");
    let event = event_with(&mut stream, |event| event["messages"] == 1);
    // Mark, drive and settle.
    assert_eq!(work_of_clients(&event), 0b1_0110, "{event}");
}

/// Those who watch learn that it is the end, and not a fault, even if there was nothing to drain.
#[cfg(unix)] // a signal begins the drain
#[test]
fn a_stream_ends_with_an_event_that_says_so() {
    for is_connected in [false, true] {
        let (server, address) = start(&[]);
        let mut stream = stream_snapshots(address);
        next_event(&mut stream);
        let _client = is_connected.then(|| server.connect());
        server.signal(nix::sys::signal::Signal::SIGTERM);
        let mut rest = String::new();
        stream.read_to_string(&mut rest).unwrap();
        let (_, end) = rest.split_once("event: end\ndata: ").expect("an end");
        let last: serde_json::Value = serde_json::from_str(end.trim_end()).unwrap();
        assert_eq!(
            (&last["serving"], &last["clients"]),
            (&false.into(), &0.into())
        );
        assert_eq!(server.wait().code, Some(0));
    }
}

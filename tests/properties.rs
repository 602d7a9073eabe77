//! Property: however the input is split, whichever writes are short or blocked, whatever spurious
//! and stale events arrive, and whichever back end reports them, the server sends exactly the bytes
//! of an independent reference model, and the memory for one client stays within its limit.

#[path = "util/harness.rs"]
mod harness;
#[path = "util/model.rs"]
mod model;
#[path = "util/script.rs"]
mod script;

use harness::Harness;
use helloop::protocol::greeting::Framing;
use helloop::reactor::{Mark, Readiness, Token};
use helloop::server::Settings;
use helloop::server::sources::peer::MAX_PEER_BYTES;
use proptest::prelude::*;
use script::{BackEnd, Fault, ScriptedStream};
use std::time::Duration;

/// What happens to the client, or around it.
#[derive(Clone, Debug)]
enum Action {
    /// This many bytes of the input arrive.
    Arrive(usize),
    /// The send buffer takes this many bytes more.
    Room(usize),
    /// The next calls have these faults.
    Faults(Vec<Option<Fault>>),
    /// The poll reports these readiness bits, although the socket is not ready.
    Spurious(u8),
    /// The poll reports an event of an earlier owner of the slot.
    Stale,
    /// Time passes, in milliseconds.
    Time(u64),
}

fn action() -> impl Strategy<Value = Action> {
    // No fault here loses input or replies. The simulation has those that do.
    let fault = prop_oneof![
        3 => Just(None),
        1 => Just(Some(Fault::Interrupted)),
        1 => Just(Some(Fault::Short)),
        1 => Just(Some(Fault::Blocked)),
    ];
    prop_oneof![
        4 => (1usize..40).prop_map(Action::Arrive),
        1 => (1usize..40_000).prop_map(Action::Arrive),
        4 => (1usize..60).prop_map(Action::Room),
        2 => prop::collection::vec(fault, 1..6).prop_map(Action::Faults),
        2 => (0u8..8).prop_map(Action::Spurious),
        1 => Just(Action::Stale),
        2 => (0u64..30).prop_map(Action::Time),
    ]
}

/// Names, line endings and long runs of one byte.
fn input() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        6 => prop::collection::vec(any::<u8>(), 0..20),
        4 => Just(b"\n".to_vec()),
        2 => Just(b"\r\n".to_vec()),
        1 => Just(b"\r".to_vec()),
        1 => Just(b"\nexit".to_vec()),
        1 => (1usize..3_000).prop_map(|count| vec![b'\n'; count]),
        1 => (60_000usize..70_000).prop_map(|length| vec![b'x'; length]),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn back_end() -> impl Strategy<Value = BackEnd> {
    prop_oneof![Just(BackEnd::EveryEdge), Just(BackEnd::AfterWouldBlock)]
}

/// Runs one client through the actions, then lets the rest of the input arrive and all replies be
/// sent. Returns what each read returned, and what was written.
fn run(
    settings: Settings,
    back_end: BackEnd,
    input: &[u8],
    actions: &[Action],
) -> Result<(Vec<Vec<u8>>, Vec<u8>), TestCaseError> {
    let mut harness = Harness::new(settings);
    let client = harness.client(ScriptedStream::with_room(0));
    client.borrow_mut().back_end = back_end;
    let token = client.borrow().token.unwrap();
    let stale = Token {
        generation: token.generation.wrapping_add(7),
        ..token
    };
    let mut sent = 0;
    let step = |harness: &mut Harness, marks: &mut Vec<Mark>| {
        harness.step_with(marks);
        marks.clear();
        let buffered = harness
            .peers()
            .map(|(_, peer)| peer.buffered(&harness.server.shared.pending))
            .sum::<usize>();
        prop_assert!(
            buffered <= MAX_PEER_BYTES,
            "{} bytes for one client",
            buffered
        );
        prop_assert_eq!(harness.stats().buffered, buffered);
        Ok(harness.server.reactor.is_empty())
    };
    let mut marks = Vec::new();
    for action in actions {
        match action {
            Action::Arrive(count) => {
                let end = input.len().min(sent + count);
                client.borrow_mut().arrive(&input[sent..end], false);
                sent = end;
            }
            Action::Room(bytes) => client.borrow_mut().make_room(*bytes),
            Action::Faults(faults) => client.borrow_mut().faults.extend(faults),
            Action::Spurious(bits) => {
                let all = [Readiness::READABLE, Readiness::WRITABLE, Readiness::CLOSED];
                for (index, bit) in all.into_iter().enumerate() {
                    if bits & (1 << index) != 0 {
                        marks.push((token, bit));
                    }
                }
            }
            Action::Stale => marks.push((stale, Readiness::READABLE | Readiness::CLOSED)),
            Action::Time(milliseconds) => harness.advance(Duration::from_millis(*milliseconds)),
        }
        if step(&mut harness, &mut marks)? {
            break;
        }
    }
    if !client.borrow().closed && !client.borrow().fin {
        client.borrow_mut().arrive(&input[sent..], true);
    }
    for _ in 0..100_000 {
        client.borrow_mut().make_room(1 << 20);
        harness.advance(Duration::from_millis(10));
        if step(&mut harness, &mut marks)? {
            let client = client.borrow();
            return Ok((client.reads.clone(), client.written.clone()));
        }
    }
    Err(TestCaseError::fail(
        "the connection never ends: a wakeup was lost",
    ))
}

fn settings(framing: Framing, delay: u64) -> Settings {
    Settings {
        framing,
        delay: Duration::from_millis(delay),
        ..Settings::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn replies_to_chunks_equal_those_of_the_model(
        input in input(),
        actions in prop::collection::vec(action(), 0..60),
        delay in prop_oneof![Just(0u64), 1u64..20],
        back_end in back_end(),
    ) {
        let (reads, written) = run(settings(Framing::Chunk, delay), back_end, &input, &actions)?;
        prop_assert_eq!(
            written.escape_ascii().to_string(),
            model::chunks(&reads).escape_ascii().to_string()
        );
    }

    #[test]
    fn replies_to_lines_equal_those_of_the_model(
        input in input(),
        actions in prop::collection::vec(action(), 0..60),
        delay in prop_oneof![Just(0u64), 1u64..20],
        back_end in back_end(),
    ) {
        let (_, written) = run(settings(Framing::Line, delay), back_end, &input, &actions)?;
        prop_assert_eq!(
            written.escape_ascii().to_string(),
            model::lines(&input, true).escape_ascii().to_string()
        );
    }
}

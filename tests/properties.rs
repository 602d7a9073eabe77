//! For any cutting of the input, any short or blocked write and any order of spurious and stale
//! readiness: the bytes out are those of a model written apart from the crate's code, none lost,
//! none twice, and what is kept for the client stays within its limit.

#[path = "util/rig.rs"]
mod rig;
#[path = "util/script.rs"]
mod script;

use helloop::protocol::greeting::Framing;
use helloop::reactor::{Mark, Readiness, Token};
use helloop::server::Settings;
use helloop::server::sources::peer::MAX_PEER_BYTES;
use proptest::prelude::*;
use rig::Rig;
use script::{Fault, Scripted, model};
use std::time::Duration;

/// What happens to the one client, in order.
#[derive(Clone, Debug)]
enum Happening {
    /// So many bytes of the input arrive.
    Arrive(usize),
    /// The client takes so many bytes.
    Room(usize),
    /// The next calls meet these faults.
    Faults(Vec<Option<Fault>>),
    /// The poll says something that is not so.
    Spurious(u8),
    /// The poll speaks of a source that was there before.
    Stale,
    /// Time passes, in milliseconds.
    Time(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    // A fault that ends the conversation early is the simulation's matter: here nothing is lost.
    let fault = prop_oneof![
        3 => Just(None),
        1 => Just(Some(Fault::Interrupted)),
        1 => Just(Some(Fault::Short)),
        1 => Just(Some(Fault::Blocked)),
    ];
    prop_oneof![
        4 => (1usize..40).prop_map(Happening::Arrive),
        1 => (1usize..40_000).prop_map(Happening::Arrive),
        4 => (1usize..60).prop_map(Happening::Room),
        2 => prop::collection::vec(fault, 1..6).prop_map(Happening::Faults),
        2 => (0u8..8).prop_map(Happening::Spurious),
        1 => Just(Happening::Stale),
        2 => (0u64..30).prop_map(Happening::Time),
    ]
}

/// Names, separators and long stretches: what the input may be made of.
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

/// Runs one client through what happens, then lets everything arrive and be taken, and returns
/// what was read in pieces and what was written.
fn run(
    settings: Settings,
    input: &[u8],
    happenings: &[Happening],
) -> Result<(Vec<Vec<u8>>, Vec<u8>), TestCaseError> {
    let mut rig = Rig::new(settings);
    let wire = rig.client(Scripted::with_room(0));
    let token = wire.borrow().token.unwrap();
    let stale = Token {
        generation: token.generation.wrapping_add(7),
        ..token
    };
    let mut sent = 0;
    let step = |rig: &mut Rig, marks: &mut Vec<Mark>| {
        rig.step_with(marks);
        marks.clear();
        let kept = rig.peers().map(|(_, peer)| peer.buffered()).sum::<usize>();
        prop_assert!(kept <= MAX_PEER_BYTES, "{} bytes kept for one client", kept);
        prop_assert_eq!(rig.stats().buffered, kept);
        Ok(rig.server.reactor.is_empty())
    };
    let mut marks = Vec::new();
    for happening in happenings {
        match happening {
            Happening::Arrive(count) => {
                let end = input.len().min(sent + count);
                wire.borrow_mut().arrive(&input[sent..end], false);
                sent = end;
            }
            Happening::Room(bytes) => wire.borrow_mut().make_room(*bytes),
            Happening::Faults(faults) => wire.borrow_mut().faults.extend(faults),
            Happening::Spurious(bits) => {
                let all = [Readiness::READABLE, Readiness::WRITABLE, Readiness::CLOSED];
                for (index, bit) in all.into_iter().enumerate() {
                    if bits & (1 << index) != 0 {
                        marks.push((token, bit));
                    }
                }
            }
            Happening::Stale => marks.push((stale, Readiness::READABLE | Readiness::CLOSED)),
            Happening::Time(milliseconds) => rig.pass(Duration::from_millis(*milliseconds)),
        }
        if step(&mut rig, &mut marks)? {
            break;
        }
    }
    if !wire.borrow().closed && !wire.borrow().fin {
        wire.borrow_mut().arrive(&input[sent..], true);
    }
    for _ in 0..100_000 {
        wire.borrow_mut().make_room(1 << 20);
        rig.pass(Duration::from_millis(10));
        if step(&mut rig, &mut marks)? {
            let wire = wire.borrow();
            return Ok((wire.reads.clone(), wire.written.clone()));
        }
    }
    Err(TestCaseError::fail(
        "the conversation never ended: a wake-up was lost",
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
    fn chunks_are_answered_as_the_model_says(
        input in input(),
        happenings in prop::collection::vec(happening(), 0..60),
        delay in prop_oneof![Just(0u64), 1u64..20],
    ) {
        let (reads, written) = run(settings(Framing::Chunk, delay), &input, &happenings)?;
        prop_assert_eq!(
            written.escape_ascii().to_string(),
            model::chunks(&reads).escape_ascii().to_string()
        );
    }

    #[test]
    fn lines_are_answered_as_the_model_says(
        input in input(),
        happenings in prop::collection::vec(happening(), 0..60),
        delay in prop_oneof![Just(0u64), 1u64..20],
    ) {
        let (_, written) = run(settings(Framing::Line, delay), &input, &happenings)?;
        prop_assert_eq!(
            written.escape_ascii().to_string(),
            model::lines(&input, true).escape_ascii().to_string()
        );
    }
}

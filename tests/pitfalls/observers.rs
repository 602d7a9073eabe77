//! Observers must not shut out a health check: pitfall 24. And their questions must not make a turn
//! long: pitfall 23. The same at full size on real sockets is in `tests/watched.rs`.

use crate::harness::Harness;
use crate::script::{AcceptQueue, Remote, ScriptedStream};
use helloop::reactor::{Readiness, Token};
use helloop::server::Settings;
use helloop::testing::observe::{RecorderMode, TurnRecorder};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

/// The limit of connections.
const MAX_OBSERVERS: usize = 128;

/// New connections that are accepted per turn.
const ACCEPTS_PER_TURN: usize = 4;

const OTHER_OBSERVERS: usize = 1_000;

struct Observed {
    harness: Harness,
    listener: Token,
    queue: Rc<RefCell<AcceptQueue>>,
    remotes: Vec<Remote>,
}

impl Observed {
    fn new() -> Self {
        Self::with(TurnRecorder::new(1, RecorderMode::Off))
    }

    fn with(recorder: TurnRecorder) -> Self {
        let mut harness = Harness::with(recorder, Settings::default());
        let (listener, queue) = harness.observer_listener();
        Self {
            harness,
            listener,
            queue,
            remotes: Vec::new(),
        }
    }

    fn recorder(&self) -> &TurnRecorder {
        self.harness.server.reactor.recorder()
    }

    /// One more connection in the backlog. Its send buffer takes `room` bytes.
    fn connect(&mut self, input: &[u8], fin: bool, room: usize) -> Remote {
        let (stream, remote) = ScriptedStream::with_room(room);
        remote.borrow_mut().arrive(input, fin);
        self.harness.add_remote(&remote);
        self.remotes.push(remote.clone());
        self.queue.borrow_mut().streams.push_back(stream);
        remote
    }

    /// One turn, with an event for the listener if connections wait.
    fn step(&mut self) {
        let waits = !self.queue.borrow().streams.is_empty();
        let mark = (self.listener, Readiness::READABLE);
        self.harness.step_with(if waits {
            std::slice::from_ref(&mark)
        } else {
            &[]
        });
        let waiting = self.queue.borrow().streams.len();
        let is_open = |remote: &&Remote| !remote.borrow().closed;
        let open = self.remotes.iter().filter(is_open).count() - waiting;
        assert!(open <= MAX_OBSERVERS, "{open} descriptors");
    }

    /// The turns until `remote` has been answered with 200.
    #[track_caller]
    fn turns_until_answered(&mut self, remote: &Remote, max_turns: usize) -> usize {
        let is_answered = || remote.borrow().written.starts_with(b"HTTP/1.1 200 OK\r\n");
        for turn in 0..max_turns {
            if is_answered() {
                return turn;
            }
            assert!(!remote.borrow().closed, "closed in turn {turn}");
            self.step();
        }
        panic!("not answered in {max_turns} turns");
    }
}

/// What others do: their input, whether EOF follows, and how many bytes they take.
const BEHAVIOURS: [(&[u8], bool, usize); 7] = [
    (b"", false, usize::MAX / 2),
    (b"GET /healthz HT", false, usize::MAX / 2),
    (
        b"GET /healthz HTTP/1.1\r\nHost: [::1]\r\n\r\n",
        false,
        usize::MAX / 2,
    ),
    (b"GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n", false, 0),
    (b"GET /metrics HTTP/1.1\r\nHost: [::1]\r\n\r\n", false, 100),
    (b"GET /events HTTP/1.1\r\nHost: [::1]\r\n\r\n", false, 100),
    (b"GET /events HTTP/1.1\r\nHost: [::1]\r\n\r\n", true, 100),
];

/// A thousand connections that arrived before are accepted, four per turn, and the health check
/// is answered after the last of them. No time passes, so no deadline helps.
#[test]
fn p24_a_thousand_other_observers_do_not_shut_out_a_health_check() {
    for (input, fin, room) in BEHAVIOURS {
        for path in ["/healthz", "/metrics"] {
            let mut observed = Observed::new();
            for _ in 0..OTHER_OBSERVERS {
                observed.connect(input, fin, room);
            }
            let request = format!("GET {path} HTTP/1.0\r\n\r\n");
            let check = observed.connect(request.as_bytes(), false, usize::MAX / 2);
            let max_turns = OTHER_OBSERVERS / ACCEPTS_PER_TURN + 10;
            observed.turns_until_answered(&check, max_turns);
            // Once they have their places, one that comes later does not wait at all.
            let check = observed.connect(request.as_bytes(), false, usize::MAX / 2);
            observed.turns_until_answered(&check, 5);
        }
    }
}

/// New connections come as fast as they are accepted. The health check's request arrives only when
/// nearly a hundred more have been accepted after it.
#[test]
fn p24_a_health_check_keeps_its_place_beside_a_flood_of_connects() {
    let mut observed = Observed::new();
    let flood = |observed: &mut Observed, turns: usize| {
        for _ in 0..turns {
            for _ in 0..ACCEPTS_PER_TURN {
                observed.connect(b"", false, usize::MAX / 2);
            }
            observed.step();
        }
    };
    flood(&mut observed, OTHER_OBSERVERS / ACCEPTS_PER_TURN);
    let check = observed.connect(b"", false, usize::MAX / 2);
    flood(&mut observed, 96 / ACCEPTS_PER_TURN);
    let request = b"GET /healthz HTTP/1.0\r\n\r\n";
    check.borrow_mut().arrive(request, false);
    flood(&mut observed, 2);
    observed.turns_until_answered(&check, 1);
}

/// Whatever observers do, their descriptors are free again a while after.
#[test]
fn p24_each_observer_that_is_idle_or_stuck_is_closed_at_its_deadline() {
    for (input, fin, room) in BEHAVIOURS {
        let mut observed = Observed::new();
        for _ in 0..MAX_OBSERVERS {
            observed.connect(input, fin, room);
        }
        for _ in 0..MAX_OBSERVERS {
            observed.step();
        }
        for _ in 0..30 {
            observed.harness.advance(Duration::from_secs(1));
            for _ in 0..4 {
                observed.step();
            }
        }
        assert!(observed.remotes.iter().all(|remote| remote.borrow().closed));
        let requests = &observed.harness.server.shared.observers;
        assert_eq!(
            (requests.sources, requests.observers, requests.streams),
            (1, 0, 0)
        );
    }
}

/// A question about a slot looks at no more than so many entries of the recording per turn, all
/// questions together.
const SEARCHED_ENTRIES_PER_TURN: usize = 8_192;

/// A recording of this many entries, by twenty clients.
fn recorded(min_entries: usize) -> Observed {
    let mut observed = Observed::with(TurnRecorder::new(10_000, RecorderMode::Recording));
    let mut add = |_| observed.harness.client(ScriptedStream::unlimited());
    let clients: Vec<_> = (0..20).map(&mut add).collect();
    while observed.recorder().entries().count() < min_entries {
        for client in &clients {
            client.borrow_mut().arrive(b"Ada", false);
        }
        observed.step();
    }
    observed
}

#[test]
fn p23_questions_about_slots_look_at_a_bounded_part_of_the_recording_per_turn() {
    let mut observed = recorded(5 * SEARCHED_ENTRIES_PER_TURN);
    for questions in [1, 16] {
        let observers: Vec<_> = (0..questions)
            .map(|slot| {
                // Slots that were never used: their history is searched for to the end.
                let slot = 4_000 + slot;
                let request = format!("GET /slots/{slot} HTTP/1.1\r\nHost: [::1]\r\n\r\n");
                observed.connect(request.as_bytes(), false, usize::MAX / 2)
            })
            .collect();
        let entries = observed.recorder().entries().count();
        let turns = observed.turns_until_answered(observers.last().unwrap(), 1_000);
        let expected = questions * entries / SEARCHED_ENTRIES_PER_TURN;
        assert!(
            (expected..2 * expected + 20).contains(&turns),
            "{turns} turns for {expected}"
        );
    }
    // What is found does not depend on how long it takes.
    let found = observed.connect(b"GET /slots/3 HTTP/1.0\r\n\r\n", false, usize::MAX / 2);
    observed.turns_until_answered(&found, 100);
    let found = String::from_utf8(found.borrow().written.clone()).unwrap();
    assert_eq!(
        found.matches("drive: read 3 B, write 11 B; park").count(),
        6,
        "{found}"
    );
    assert!(found.contains("\"state\":\"waiting\""), "{found}");
}

/// Entries that are formatted per turn for a page that is paused, all questions together, and the
/// entries of one answer.
const FORMATTED_ENTRIES_PER_TURN: usize = 256;
const ENTRIES_BEFORE: u64 = 3_072;
const ENTRIES_AFTER: u64 = 1_024;

#[test]
fn p23_questions_about_turns_format_a_bounded_part_of_the_recording_per_turn() {
    let mut observed = recorded(40_000);
    let entries = (ENTRIES_BEFORE + ENTRIES_AFTER) as usize;
    for questions in [1, 16] {
        let observers: Vec<_> = (0..questions)
            .map(|question| {
                let number = 20_000 + question;
                let request = format!("GET /turns/{number} HTTP/1.1\r\nHost: [::1]\r\n\r\n");
                observed.connect(request.as_bytes(), false, usize::MAX / 2)
            })
            .collect();
        let turns = observed.turns_until_answered(observers.last().unwrap(), 1_000);
        let expected = questions * entries / FORMATTED_ENTRIES_PER_TURN;
        assert!(
            (expected..2 * expected + 20).contains(&turns),
            "{turns} turns for {expected}"
        );
    }
}

#[test]
fn an_excerpt_has_the_entries_around_a_moment_and_is_bounded() {
    let mut observed = recorded(40_000);
    let mut ask = |number: u64| {
        let request = format!("GET /turns/{number} HTTP/1.0\r\n\r\n");
        let remote = observed.connect(request.as_bytes(), false, usize::MAX / 2);
        observed.turns_until_answered(&remote, 100);
        let end = observed.recorder().end();
        let answer = String::from_utf8(remote.borrow().written.clone()).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let excerpt: serde_json::Value = serde_json::from_str(body).unwrap();
        let first = excerpt["first"].as_u64().unwrap();
        let entries = excerpt["entries"].as_array().unwrap().clone();
        assert!(body.len() < 180 * 4_096, "{} bytes", body.len());
        (first, entries, end)
    };
    let (first, entries, _) = ask(20_000);
    assert_eq!(first, 20_000 - ENTRIES_BEFORE);
    assert_eq!(entries.len() as u64, ENTRIES_BEFORE + ENTRIES_AFTER);
    let call = entries.iter().find(|entry| entry[1] == "c").unwrap();
    assert_eq!(call[4], "read 3 B, write 11 B; park");
    assert_eq!((&call[5], &call[6]), (&"w".into(), &"w".into()));
    // At both ends of the recording there is less.
    let (first, entries, _) = ask(0);
    assert_eq!((first, entries.len() as u64), (0, ENTRIES_AFTER));
    let (first, entries, end) = ask(u64::MAX);
    assert_eq!(entries.len() as u64, ENTRIES_BEFORE);
    assert!(first + ENTRIES_BEFORE <= end, "{first} of {end}");
}

#[test]
fn an_excerpt_begins_where_the_recording_begins() {
    let mut observed = Observed::with(TurnRecorder::new(20, RecorderMode::Recording));
    let client = observed.harness.client(ScriptedStream::unlimited());
    for _ in 0..100 {
        client.borrow_mut().arrive(b"Ada", false);
        observed.step();
    }
    // The moment has left the recording.
    let remote = observed.connect(b"GET /turns/50 HTTP/1.0\r\n\r\n", false, usize::MAX / 2);
    observed.turns_until_answered(&remote, 100);
    let answer = String::from_utf8(remote.borrow().written.clone()).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let excerpt: serde_json::Value = serde_json::from_str(body).unwrap();
    let first = excerpt["first"].as_u64().unwrap();
    let entries = excerpt["entries"].as_array().unwrap();
    assert!(first > 50, "{first}");
    // A turn or two have gone by since it was formatted.
    let end = observed.recorder().end();
    let last = first + entries.len() as u64;
    assert!(last <= end && end < last + 40, "{last} of {end}");
}

//! Recordings of the loop, and the ladder that `helloop show` prints.

mod http;
#[path = "util/script.rs"]
mod script;
mod util;

use helloop::reactor::{Mark, Reactor, Readiness, Recorder, Time, TurnPhase};
use helloop::server::sources::listener::Listener;
use helloop::server::{ServerSource, Settings};
use helloop::testing::observe::{CallStats, Detail};
use helloop::testing::observe::{Filter, show};
use helloop::testing::observe::{RecorderMode, TurnRecorder};
use helloop::testing::observe::{State, TokenFilter};
use helloop::testing::trace::{self, Event, EventType};
use script::{Remote, ScriptedStream};
use script::{ScriptedListener, ScriptedNet};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Write};
use std::mem;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use util::{Ended, Server, ask, helloop, read_to_end, run, run_helloop};

/// The rounding error of a sum of two doubles: half a nanosecond, in the format's microseconds.
const ROUNDING_US: f64 = 0.000_5;

fn load(path: &Path) -> Vec<Event> {
    trace::read(File::open(path).unwrap()).unwrap()
}

/// A path for a recording, in a directory of its own.
fn recording() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("loop.json");
    (folder, path)
}

fn assert_times_rise(events: &[Event]) {
    assert!(events.len() > 10, "{events:?}");
    // Perfetto takes thread 0 for the main thread of the process, as well as the thread of its number.
    assert!(events.iter().all(|event| event.tid > 0));
    for pair in events.windows(2) {
        assert!(pair[0].begins_us <= pair[1].begins_us, "{pair:?}");
    }
}

/// On each track, a slice is inside the open one or after it, and each one that begins ends.
fn assert_slices_nest(events: &[Event]) {
    // By track, the end of each open slice, or its detail if that is not known yet.
    let mut open: HashMap<u64, Vec<Result<f64, Detail>>> = HashMap::new();
    let mut slices = 0;
    for event in events {
        let stack = open.entry(event.tid).or_default();
        let begins = event.begins_us;
        let is_over = |end: &Result<f64, _>| matches!(end, Ok(end) if *end <= begins + ROUNDING_US);
        match event.ph {
            EventType::Begin | EventType::Slice | EventType::End => {
                while stack.last().is_some_and(is_over) {
                    stack.pop();
                }
            }
            EventType::Instant | EventType::Counter | EventType::Metadata => continue,
        }
        let inside = stack.last().and_then(|end| end.as_ref().ok().copied());
        match event.ph {
            EventType::Begin => {
                assert_eq!(inside, None, "{event:?} begins in a whole slice");
                stack.push(Err(event.detail.clone()));
                slices += 1;
            }
            EventType::End => {
                let ends = Some(Err(event.detail.clone()));
                assert_eq!(stack.pop(), ends, "{event:?} ends nothing");
            }
            _ => {
                let end = begins + event.lasts_us.expect("a whole slice has a duration");
                assert!(
                    inside.is_none_or(|outer| end <= outer + ROUNDING_US),
                    "{event:?}"
                );
                stack.push(Ok(end));
                slices += 1;
            }
        }
    }
    assert!(slices > 10, "{slices} slices");
    let mut stacks = open.values().flatten();
    assert!(stacks.all(Result::is_ok), "a slice has no end");
}

/// What each source did in total, by token.
fn totals(events: &[Event]) -> BTreeMap<String, CallStats> {
    let mut totals: BTreeMap<String, CallStats> = BTreeMap::new();
    for event in events {
        if let Detail::Call(call) = &event.detail {
            let sum = totals.entry(call.token.to_string()).or_default();
            sum.messages += call.stats.messages;
            sum.accepted += call.stats.accepted;
            sum.bytes_in += call.stats.bytes_in;
            sum.bytes_out += call.stats.bytes_out;
            sum.answered += call.stats.answered;
        }
    }
    totals
}

/// Five clients send two names each, and one datagram is sent.
fn five_clients(server: &Server) {
    let mut clients: Vec<_> = (0..5).map(|_| server.connect()).collect();
    for name in [&b"Michael"[..], b"Tracy"] {
        for client in &mut clients {
            let reply = [b"Hello, ", name, b"!"].concat();
            ask(client, name, &reply);
        }
    }
    util::ask_udp(&server.udp(), b"Sarah", b"Hello, Sarah!");
    for mut client in clients {
        client.write_all(b"exit").unwrap();
        assert_eq!(read_to_end(&mut client), b"");
    }
}

#[test]
fn a_recording_of_five_clients_accounts_for_every_reply() {
    let (_folder, path) = recording();
    let server = Server::start(&["--record", path.to_str().unwrap()]);
    five_clients(&server);
    let ended = server.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let events = load(&path);
    assert_times_rise(&events);
    assert_slices_nest(&events);
    let totals = totals(&events);
    let is_client = |stats: &&CallStats| stats.messages > 0;
    let clients: Vec<_> = totals.values().filter(is_client).collect();
    assert_eq!(clients.len(), 5, "{totals:?}");
    for stats in clients {
        // In: two names and exit. Out: the welcome and two replies.
        assert_eq!((stats.messages, stats.bytes_in), (3, 7 + 5 + 4));
        assert_eq!(stats.bytes_out, 8 + 15 + 13);
    }
    assert_eq!(totals.values().map(|stats| stats.accepted).sum::<u32>(), 5);
    assert_eq!(totals.values().map(|stats| stats.answered).sum::<u32>(), 1);
    // Each call is timed.
    let mut calls = events
        .iter()
        .filter(|event| matches!(event.detail, Detail::Call(_)));
    assert!(calls.all(|call| call.lasts_us > Some(0.0)));
    // Each source has a slice for its lifetime, and one for each of its states: the five clients,
    // and the server's own three.
    let lifetimes = events
        .iter()
        .filter(|event| event.detail == Detail::Lifetime {} && event.ph == EventType::Begin);
    assert_eq!(lifetimes.count(), 5 + 3);
    for state in [State::Greeting, State::Waiting, State::Lingering] {
        let name = state.to_string();
        let slices = events
            .iter()
            .filter(|event| event.detail == Detail::State {} && event.name == name);
        assert!(slices.count() >= 5, "{state}");
    }
}

#[test]
fn an_observer_does_not_change_what_is_recorded_of_clients() {
    let (_folder, path) = recording();
    let server = Server::start(&[
        "--record",
        path.to_str().unwrap(),
        "--observe",
        "127.0.0.1:0",
    ]);
    let mut observer = util::connect(http::observe_address(&server));
    observer.write_all(b"GET /events HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!(http::read_head(&mut observer).status, 200);
    five_clients(&server);
    assert_eq!(server.stop().code, Some(0));
    let events = load(&path);
    assert_times_rise(&events);
    assert_slices_nest(&events);
    let totals = totals(&events);
    let mut clients = totals.values().filter(|stats| stats.messages > 0);
    // The bytes of observers are not counted as those of clients.
    assert!(clients.all(|stats| (stats.messages, stats.bytes_out) == (3, 8 + 15 + 13)));
    assert_eq!(totals.values().map(|stats| stats.messages).sum::<u32>(), 15);
    let observer = State::Observer.to_string();
    assert!(events.iter().any(|event| event.name == observer));
}

#[test]
fn a_recording_is_complete_json_in_the_trace_event_format() {
    let (_folder, path) = recording();
    let server = Server::start(&["--record", path.to_str().unwrap()]);
    five_clients(&server);
    server.stop();
    let value: serde_json::Value = serde_json::from_reader(File::open(&path).unwrap()).unwrap();
    assert_eq!(value["displayTimeUnit"], "ns");
    let events = value["traceEvents"].as_array().unwrap();
    for event in events {
        assert!(event["ts"].is_number() && event["pid"].is_u64(), "{event}");
        match event["ph"].as_str().unwrap() {
            "X" => assert!(event["dur"].as_f64().unwrap() >= 0.0, "{event}"),
            "B" => assert!(event["name"].is_string(), "{event}"),
            "E" => {}
            "C" => assert!(event["args"]["value"].is_u64(), "{event}"),
            "M" if event["cat"] == "place" => assert!(event["args"]["sort_index"].is_u64()),
            "M" => assert!(event["args"]["name"].is_string(), "{event}"),
            "i" => {}
            other => panic!("{other} in {event}"),
        }
    }
    let named = |name: &str| events.iter().filter(|event| event["name"] == name).count();
    for phase in ["mark", "drive", "expire", "settle"] {
        assert!(named(phase) >= 5, "{phase}");
    }
    assert!(named("clients") >= 5 && named("buffered bytes") >= 5);
}

#[cfg(unix)] // sends a signal
#[test]
fn sigusr2_saves_a_recording_and_the_server_keeps_serving() {
    let (_folder, path) = recording();
    let server = Server::start(&["--record", path.to_str().unwrap()]);
    five_clients(&server);
    assert!(!path.exists(), "not saved before the signal");
    server.signal(nix::sys::signal::Signal::SIGUSR2);
    server.stderr().wait_for("helloop show");
    let first = load(&path);
    assert_slices_nest(&first);
    server.assert_serves();
    server.stop();
    assert!(load(&path).len() > first.len());
}

#[test]
fn a_recording_holds_only_the_last_turns() {
    let (_folder, path) = recording();
    let server = Server::start(&["--record", path.to_str().unwrap(), "--record-turns", "4"]);
    five_clients(&server);
    server.stop();
    let events = load(&path);
    assert_times_rise(&events);
    assert_slices_nest(&events);
    let turns: Vec<u64> = events
        .iter()
        .filter_map(|event| match event.detail {
            Detail::Turn { turn } if event.ph == EventType::Begin => Some(turn),
            _ => None,
        })
        .collect();
    assert_eq!(turns.len(), 4, "{turns:?}");
    assert!(turns.windows(2).all(|pair| pair[0] + 1 == pair[1]));
}

#[test]
fn show_rejects_a_file_that_is_not_a_recording_and_prints_none_of_it() {
    let (_folder, path) = recording();
    for (text, words) in [
        ("", "is empty"),
        ("hello", "is not JSON"),
        (
            "{\"traceEvents\":[{\"name\":\"\u{1b}[2J\"}]}",
            "is not JSON",
        ),
        (
            "{\"traceEvents\":[{\"name\":\"x\",\"ph\":\"i\",\"ts\":0,\"pid\":1,\"tid\":0,\"cat\":\"born\",\
             \"args\":{\"token\":\"#\u{1b}[2J\",\"state\":\"waiting\"}}]}",
            "is not JSON",
        ),
    ] {
        std::fs::write(&path, text).unwrap();
        let ended = run_helloop(&["show", path.to_str().unwrap()]);
        assert_eq!(ended.code, Some(1), "{text}");
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
        assert!(!ended.stderr.contains('\u{1b}') && ended.stdout.is_empty());
    }
    let missing = run_helloop(&["show", "/no/such/file"]);
    assert_eq!(missing.code, Some(1));
    assert!(missing.stderr.contains("cannot open /no/such/file: "));
}

// The real server in virtual time, with scripted streams.

type TestSource = ServerSource<ScriptedNet>;

/// A server, and the virtual time.
struct VirtualServer {
    server: helloop::server::Server<ScriptedNet>,
    clients: Vec<Remote>,
    now: Time,
}

impl VirtualServer {
    /// Runs the loop up to this moment, with a turn for each deadline before it.
    fn until(&mut self, milliseconds: u64) {
        self.until_marks(milliseconds, &[]);
    }

    fn until_marks(&mut self, milliseconds: u64, marks: &[Mark]) {
        let target = Time::ZERO.after(Duration::from_millis(milliseconds));
        loop {
            let reactor = &mut self.server.reactor;
            let timeout = reactor.poll_timeout(self.now);
            let turn = reactor.stats().turns + 1;
            let recorder = reactor.recorder_mut();
            Recorder::<TestSource>::phase(recorder, turn, TurnPhase::Wait(timeout), self.now);
            let deadline = timeout.map(|timeout| self.now.after(timeout));
            match deadline.filter(|deadline| *deadline < target) {
                Some(deadline) => self.step(deadline, &[]),
                None => break,
            }
        }
        let mut all = marks.to_vec();
        let clients = self.clients.iter();
        all.extend(clients.filter_map(|client| client.borrow_mut().take_mark()));
        self.step(target, &all);
    }

    fn step(&mut self, now: Time, marks: &[Mark]) {
        self.now = now;
        let server = &mut self.server;
        let marks = marks.iter().copied();
        server.reactor.step(now, marks, &mut server.shared);
        assert_eq!(self.server.between_turns(), None);
    }

    fn send(&self, client: usize, bytes: &[u8]) {
        self.clients[client].borrow_mut().arrive(bytes, false);
    }
}

/// Three clients under `--delay 1s`. Each client's replies are held separately: Sarah's, who sends
/// later, do not delay the others'.
fn three_clients() -> TurnRecorder {
    let recorder = TurnRecorder::new(100, RecorderMode::Recording);
    let reactor = Reactor::simulated_recorded(recorder).unwrap();
    let settings = Settings {
        delay: Duration::from_secs(1),
        ..Settings::default()
    };
    let (streams, clients) = (0..3).map(|_| ScriptedStream::unlimited()).unzip();
    let mut server = helloop::server::Server::on(reactor, settings);
    let arrivals = ScriptedListener::default();
    arrivals.0.borrow_mut().streams = streams;
    let listener = Listener::new(arrivals);
    let listener = server
        .add(ServerSource::Listener(Box::new(listener)))
        .unwrap();
    let mut virtual_server = VirtualServer {
        server,
        clients,
        now: Time::ZERO,
    };
    virtual_server.until(0);
    virtual_server.until_marks(5, &[(listener, Readiness::READABLE)]);
    virtual_server.until(5);
    virtual_server.send(0, b"Michael");
    virtual_server.send(1, b"Tracy");
    virtual_server.until(100);
    virtual_server.send(2, b"Sarah");
    virtual_server.until(600);
    virtual_server.send(0, b"exit");
    virtual_server.until(1_200);
    virtual_server.until(2_200);
    virtual_server.clients[0].borrow_mut().arrive(b"", true);
    virtual_server.until(2_201);
    let recorder = virtual_server.server.reactor.recorder_mut();
    mem::replace(recorder, TurnRecorder::new(1, RecorderMode::Recording))
}

fn ladder(recorder: &TurnRecorder, filter: Filter) -> String {
    let (mut json, mut text) = (Vec::new(), Vec::new());
    trace::write(recorder, &mut json).unwrap();
    show(json.as_slice(), filter, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn three_clients_under_delay_print_the_ladder_of_the_readme() {
    let recorder = three_clients();
    let expected = ladder(&recorder, Filter::default());
    print!("{expected}");
    let commands = util::readme::commands();
    let typed = "helloop show tests/three-clients.json";
    let shown = commands.iter().find(|command| command.typed == typed);
    let shown = &shown.expect("the README has it").output;
    assert_eq!(&expected, shown, "the README shows another ladder");
    // The command prints the same for this recording, and for the committed one, which an earlier
    // version has written: it had each call on two tracks, and events on the loop's.
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("three-clients.json");
    trace::write(&recorder, &mut File::create(&path).unwrap()).unwrap();
    for path in [path.to_str().unwrap(), "tests/three-clients.json"] {
        let shown: Ended = run(helloop(&["show", path]));
        assert_eq!((shown.code, &shown.stdout), (Some(0), &expected), "{path}");
    }
    let events = load(&path);
    assert_times_rise(&events);
    assert_slices_nest(&events);
}

#[test]
fn show_selects_one_turn_or_one_token() {
    let recorder = three_clients();
    let whole = ladder(&recorder, Filter::default());
    let sarah = Filter {
        token: Some(TokenFilter {
            key: 3,
            generation: Some(0),
        }),
        ..Filter::default()
    };
    let history = ladder(&recorder, sarah);
    let lines = |text: &str| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    assert!(
        lines(&history).iter().all(|line| line.contains("#3.0")),
        "{history}"
    );
    assert_eq!(lines(&history).len(), whole.matches("#3.0").count());
    let turn = Filter {
        turn: Some(4),
        ..Filter::default()
    };
    let one = ladder(&recorder, turn);
    assert!(
        lines(&one).len() >= 3 && lines(&one)[0].contains(" 4 "),
        "{one}"
    );
    let mut json = Vec::new();
    trace::write(&recorder, &mut json).unwrap();
    let nowhere = Filter {
        turn: Some(1_000),
        ..Filter::default()
    };
    assert!(show(json.as_slice(), nowhere, &mut io::sink()).is_err());
}

//! The recording of the loop, and the ladder that is made of it.

mod http;
#[path = "util/script.rs"]
mod script;
mod util;

use helloop::observe::State;
use helloop::observe::describe::CallStats;
use helloop::observe::recorder::{RecorderMode, TurnRecorder};
use helloop::observe::show::{Filter, show};
use helloop::observe::trace::{self, Detail, Event, Kind};
use helloop::reactor::{Mark, Reactor, Readiness, Recorder, Time, TurnPhase};
use helloop::server::sources::listener::Listener;
use helloop::server::{Datagram, ServerSource, Settings};
use nix::sys::signal::Signal;
use script::ScriptedListener;
use script::{Remote, ScriptedStream};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Write};
use std::mem;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use util::{Ended, Server, ask, helloop, read_to_end, run, run_helloop};

/// Half a nanosecond, in the format's microseconds: what a sum of two doubles may be off by.
const ROUNDING_US: f64 = 0.000_5;

fn load(path: &Path) -> Vec<Event> {
    trace::read(File::open(path).unwrap()).unwrap()
}

/// Where a recording of the test's goes.
fn recording() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("loop.json");
    (folder, path)
}

fn assert_times_rise(events: &[Event]) {
    assert!(events.len() > 10, "{events:?}");
    for pair in events.windows(2) {
        assert!(pair[0].begins_us <= pair[1].begins_us, "{pair:?}");
    }
}

/// On each track a slice lies within the one that is open, or behind it.
fn assert_slices_nest(events: &[Event]) {
    let mut open: HashMap<u64, Vec<f64>> = HashMap::new();
    let mut slices = 0;
    for event in events.iter().filter(|event| event.ph == Kind::Slice) {
        let end = event.begins_us + event.lasts_us.expect("a slice has its length");
        let stack = open.entry(event.tid).or_default();
        while stack
            .last()
            .is_some_and(|outer| *outer <= event.begins_us + ROUNDING_US && *outer < end)
        {
            stack.pop();
        }
        if let Some(outer) = stack.last() {
            assert!(end <= outer + ROUNDING_US, "{event:?} ends after {outer}");
        }
        stack.push(end);
        slices += 1;
    }
    assert!(slices > 10, "{slices} slices");
}

/// What each source did in all, by token.
fn deeds(events: &[Event]) -> BTreeMap<String, CallStats> {
    let mut deeds: BTreeMap<String, CallStats> = BTreeMap::new();
    for event in events {
        if let Detail::Call { token, did, .. } = &event.detail {
            let sum = deeds.entry(token.0.to_string()).or_default();
            sum.messages += did.messages;
            sum.accepted += did.accepted;
            sum.bytes_in += did.bytes_in;
            sum.bytes_out += did.bytes_out;
            sum.answered += did.answered;
        }
    }
    deeds
}

/// Five clients with two names each, and one datagram.
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
fn a_run_of_five_clients_has_an_event_for_every_reply() {
    let (_folder, path) = recording();
    let server = Server::start(&["--record", path.to_str().unwrap()]);
    five_clients(&server);
    let ended = server.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let events = load(&path);
    assert_times_rise(&events);
    assert_slices_nest(&events);
    let deeds = deeds(&events);
    let clients: Vec<_> = deeds.values().filter(|did| did.messages > 0).collect();
    assert_eq!(clients.len(), 5, "{deeds:?}");
    for did in clients {
        // Two names and exit; the welcome and two replies.
        assert_eq!((did.messages, did.bytes_in), (3, 7 + 5 + 4));
        assert_eq!(did.bytes_out, 8 + 15 + 13);
    }
    assert_eq!(deeds.values().map(|did| did.accepted).sum::<u32>(), 5);
    assert_eq!(deeds.values().map(|did| did.answered).sum::<u32>(), 1);
    // Each call was timed, and took its time.
    let mut calls = events
        .iter()
        .filter(|event| matches!(event.detail, Detail::Call { .. }));
    assert!(calls.all(|call| call.lasts_us > Some(0.0)));
    // Every life has its slice, and every state of it: the five clients, and the server's own.
    let lives = events
        .iter()
        .filter(|event| event.detail == Detail::Life {});
    assert_eq!(lives.count(), 5 + 3);
    for state in [State::Greeting, State::Waiting, State::Lingering] {
        let slices = events
            .iter()
            .filter(|event| event.detail == Detail::State {} && event.name == state.name());
        assert!(slices.count() >= 5, "{state}");
    }
}

#[test]
fn an_observer_changes_nothing_of_the_recording() {
    let (_folder, path) = recording();
    let server = Server::start(&[
        "--record",
        path.to_str().unwrap(),
        "--observe",
        "127.0.0.1:0",
    ]);
    let mut observer = util::connect(http::gate_of(&server));
    observer.write_all(b"GET /events HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!(http::read_head(&mut observer).status, 200);
    five_clients(&server);
    assert_eq!(server.stop().code, Some(0));
    let events = load(&path);
    assert_times_rise(&events);
    assert_slices_nest(&events);
    let deeds = deeds(&events);
    let mut clients = deeds.values().filter(|did| did.messages > 0);
    // What goes to observers is no client's, and is not counted as theirs.
    assert!(clients.all(|did| (did.messages, did.bytes_out) == (3, 8 + 15 + 13)));
    assert_eq!(deeds.values().map(|did| did.messages).sum::<u32>(), 15);
    assert!(
        events
            .iter()
            .any(|event| event.name == State::Observer.name())
    );
}

#[test]
fn the_recording_is_whole_json_of_the_trace_event_format() {
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
            "C" => assert!(event["args"]["value"].is_u64(), "{event}"),
            "M" => assert!(event["args"]["name"].is_string(), "{event}"),
            "i" => {}
            other => panic!("{other} in {event}"),
        }
    }
    let named = |name: &str| events.iter().filter(|event| event["name"] == name).count();
    for phase in ["mark", "drive", "expire", "settle"] {
        assert!(named(phase) >= 5, "{phase}");
    }
    assert!(named("clients") >= 5 && named("owed bytes") >= 5);
}

#[test]
fn sigusr2_saves_what_there_is_and_the_server_goes_on() {
    let (_folder, path) = recording();
    let server = Server::start(&["--record", path.to_str().unwrap()]);
    five_clients(&server);
    assert!(!path.exists(), "written only when asked for");
    server.signal(Signal::SIGUSR2);
    server.stderr().wait_for("helloop show");
    let first = load(&path);
    assert_slices_nest(&first);
    server.assert_serves();
    server.stop();
    assert!(load(&path).len() > first.len());
}

#[test]
fn the_ring_holds_the_last_turns_and_no_more() {
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
            Detail::Turn { turn } => Some(turn),
            _ => None,
        })
        .collect();
    assert_eq!(turns.len(), 4, "{turns:?}");
    assert!(turns.windows(2).all(|pair| pair[0] + 1 == pair[1]));
}

#[test]
fn a_file_that_cannot_be_written_is_told_before_anything_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("no/such/folder/loop.json");
    for path in [missing.as_path(), folder.path()] {
        let ended = run_helloop(&["serve", "--record", path.to_str().unwrap()]);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
        assert!(
            ended.stderr.contains("cannot record to"),
            "{}",
            ended.stderr
        );
    }
}

#[test]
fn without_a_recording_sigusr2_does_no_harm() {
    for flags in [&[][..], &["--observe", "127.0.0.1:0"]] {
        let server = Server::start(flags);
        server.signal(Signal::SIGUSR2);
        server.stderr().wait_for("--record FILE");
        server.assert_serves();
    }
}

#[test]
fn show_refuses_what_is_no_recording_and_shows_none_of_it() {
    let (_folder, path) = recording();
    for text in [
        "",
        "hello",
        "{\"traceEvents\":[{\"name\":\"\u{1b}[2J\"}]}",
        "{\"traceEvents\":[{\"name\":\"x\",\"ph\":\"i\",\"ts\":0,\"pid\":1,\"tid\":0,\"cat\":\"born\",\
         \"args\":{\"token\":\"#\u{1b}[2J\",\"state\":\"waiting\"}}]}",
    ] {
        std::fs::write(&path, text).unwrap();
        let ended = run_helloop(&["show", path.to_str().unwrap()]);
        assert_eq!(ended.code, Some(1), "{text}");
        assert!(
            ended.stderr.contains("is not a recording"),
            "{}",
            ended.stderr
        );
        assert!(!ended.stderr.contains('\u{1b}') && ended.stdout.is_empty());
    }
    let missing = run_helloop(&["show", "/no/such/file"]);
    assert_eq!(missing.code, Some(1));
    assert!(missing.stderr.contains("cannot be opened"));
}

// The simulation: the real server in virtual time, over scripted streams.

type Actor = ServerSource<ScriptedListener>;

/// The server, and the time where it is.
struct Simulation {
    server: helloop::server::Server<ScriptedListener, Datagram, TurnRecorder>,
    clients: Vec<Remote>,
    now: Time,
}

impl Simulation {
    /// Waits as the loop would: until this moment, or a deadline before it.
    fn until(&mut self, milliseconds: u64) {
        self.until_marks(milliseconds, &[]);
    }

    fn until_marks(&mut self, milliseconds: u64, marks: &[Mark]) {
        let target = Time::ZERO.after(Duration::from_millis(milliseconds));
        loop {
            let reactor = &mut self.server.reactor;
            let patience = reactor.poll_timeout(self.now);
            let turn = reactor.turns().turns + 1;
            let record = reactor.recorder_mut();
            Recorder::<Actor>::phase(record, turn, TurnPhase::Wait(patience), self.now);
            let deadline = patience.map(|patience| self.now.after(patience));
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

    fn say(&self, client: usize, words: &[u8]) {
        self.clients[client].borrow_mut().arrive(words, false);
    }
}

/// Three clients under `--delay 1s`. What they are owed is held for each alone: Sarah, who comes
/// later, waits for nobody.
fn three_clients() -> TurnRecorder {
    let recorder = TurnRecorder::new(100, RecorderMode::Recording);
    let reactor = Reactor::simulated_recorded(recorder).unwrap();
    let settings = Settings {
        delay: Duration::from_secs(1),
        ..Settings::default()
    };
    let (streams, clients) = (0..3).map(|_| ScriptedStream::unlimited()).unzip();
    let mut server = helloop::server::Server::with_reactor(reactor, settings);
    let arrivals = ScriptedListener::default();
    arrivals.0.borrow_mut().streams = streams;
    let listener = Listener::new(arrivals);
    let listener = server
        .add(ServerSource::Listener(Box::new(listener)))
        .unwrap();
    let mut stage = Simulation {
        server,
        clients,
        now: Time::ZERO,
    };
    stage.until(0);
    stage.until_marks(5, &[(listener, Readiness::READABLE)]);
    stage.until(5);
    stage.say(0, b"Michael");
    stage.say(1, b"Tracy");
    stage.until(100);
    stage.say(2, b"Sarah");
    stage.until(600);
    stage.say(0, b"exit");
    stage.until(1_200);
    stage.until(2_200);
    stage.clients[0].borrow_mut().arrive(b"", true);
    stage.until(2_201);
    let recorder = stage.server.reactor.recorder_mut();
    mem::replace(recorder, TurnRecorder::new(1, RecorderMode::Recording))
}

fn ladder(recorder: &TurnRecorder, filter: Filter) -> String {
    let (mut json, mut text) = (Vec::new(), Vec::new());
    trace::write(recorder, &mut json).unwrap();
    show(json.as_slice(), filter, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn three_clients_under_delay_are_the_picture_of_the_readme() {
    let recorder = three_clients();
    let picture = ladder(&recorder, Filter::default());
    print!("{picture}");
    let commands = util::readme::commands();
    let typed = "helloop show tests/three-clients.json";
    let shown = commands.iter().find(|command| command.typed == typed);
    let shown = &shown.expect("it is in the README").output;
    assert_eq!(&picture, shown, "the README has another picture");
    // The same by the command itself, of this recording and of the one that a reader is given,
    // which was made here.
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("three-clients.json");
    trace::write(&recorder, &mut File::create(&path).unwrap()).unwrap();
    for path in [path.to_str().unwrap(), "tests/three-clients.json"] {
        let shown: Ended = run(helloop(&["show", path]));
        assert_eq!((shown.code, &shown.stdout), (Some(0), &picture), "{path}");
    }
    let events = load(&path);
    assert_times_rise(&events);
    assert_slices_nest(&events);
}

#[test]
fn one_turn_or_one_token_can_be_picked() {
    let recorder = three_clients();
    let whole = ladder(&recorder, Filter::default());
    let sarah = Filter {
        token: Some((3, Some(0))),
        ..Filter::default()
    };
    let story = ladder(&recorder, sarah);
    let lines = |text: &str| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    assert!(
        lines(&story).iter().all(|line| line.contains("#3.0")),
        "{story}"
    );
    assert_eq!(lines(&story).len(), whole.matches("#3.0").count());
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

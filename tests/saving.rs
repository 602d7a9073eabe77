//! How a recording is saved: a part per turn, to a new file, and whatever the disk says. What is in
//! it is tested in `tests/record.rs`.

// Signals save a recording here, and links must not be followed.
#![cfg(unix)]

#[path = "util/harness.rs"]
mod harness;
#[path = "util/script.rs"]
mod script;
mod util;

use harness::Harness;
use helloop::server::{RecordingFile, Settings};
use helloop::testing::observe::{Detail, RecorderMode, TurnRecorder};
use helloop::testing::trace::{self, Event, EventType, TraceWriter};
use nix::sys::signal::Signal;
use script::{Remote, ScriptedStream};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use util::{Setup, ask};

/// The most that a part adds to the file: 256 entries, each of at most 1 KiB.
const MAX_PART_BYTES: u64 = 256 * 1_024;

/// A server that records, some clients, and the folder of the recording.
struct Recorded {
    harness: Harness,
    clients: Vec<Remote>,
    folder: TempDir,
}

impl Recorded {
    fn new(clients: usize) -> Self {
        let recorder = TurnRecorder::new(10_000, RecorderMode::Recording);
        let mut harness = Harness::with(recorder, Settings::default());
        let folder = tempfile::tempdir().unwrap();
        let file = RecordingFile::new(&folder.path().join("loop.json")).unwrap();
        harness.server.record_to(file);
        let mut add = |_| harness.client(ScriptedStream::unlimited());
        let clients = (0..clients).map(&mut add).collect();
        let mut recorded = Self {
            harness,
            clients,
            folder,
        };
        recorded.harness.run_until_idle();
        recorded
    }

    /// Each client sends a name in each of so many turns.
    fn talk(&mut self, turns: usize) {
        for _ in 0..turns {
            self.send();
            self.harness.step();
        }
    }

    fn send(&mut self) {
        for client in &self.clients {
            client.borrow_mut().arrive(b"Ada", false);
        }
        self.harness.advance(Duration::from_millis(1));
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("loop.json")
    }

    /// The bytes in the new file, while there is one.
    fn partial_bytes(&self) -> Option<u64> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let mut partial = entries.filter_map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            name.ends_with(".part")
                .then(|| entry.metadata().unwrap().len())
        });
        partial.next()
    }

    fn request(&mut self) {
        self.harness.server.shared.requested.recording = true;
    }

    /// Turns until the recording is saved. `work` is done before each.
    #[track_caller]
    fn save(&mut self, mut work: impl FnMut(&mut Self)) -> usize {
        self.request();
        let mut bytes = 0;
        for turn in 1..10_000 {
            work(self);
            self.harness.step();
            let Some(now) = self.partial_bytes() else {
                return turn;
            };
            assert!(now - bytes <= MAX_PART_BYTES, "{} in one turn", now - bytes);
            bytes = now;
            // More is to be written, so the loop must not block.
            let server = &mut self.harness.server;
            let timeout = server.reactor.poll_timeout(self.harness.now);
            assert_eq!(timeout, Some(Duration::ZERO));
        }
        panic!("never saved");
    }

    fn entries(&self) -> usize {
        self.harness.server.reactor.recorder().entries().count()
    }
}

fn load(path: &Path) -> Vec<Event> {
    trace::read(File::open(path).unwrap()).unwrap()
}

/// Pitfall 23: what is written per turn does not depend on the length of the recording.
#[test]
fn a_recording_is_saved_a_part_per_turn_while_clients_are_served() {
    let mut recorded = Recorded::new(20);
    recorded.talk(500);
    let entries = recorded.entries();
    assert!(entries > 20_000, "{entries}");
    let mut whole = Vec::new();
    trace::write(recorded.harness.server.reactor.recorder(), &mut whole).unwrap();
    let messages = recorded.harness.stats().messages;
    let turns = recorded.save(Recorded::send);
    assert!((entries / 256..entries / 100).contains(&turns), "{turns}");
    // All were answered meanwhile.
    let answered = recorded.harness.stats().messages - messages;
    assert!(answered >= 20 * turns as u64 - 20, "{answered}");
    // One turn was recorded after `whole` was written, with the request, and none of the rest.
    let (saved, whole) = (
        load(&recorded.path()),
        trace::read(whole.as_slice()).unwrap(),
    );
    let turns = |events: &[Event]| {
        let turns = events
            .iter()
            .filter(|event| event.ph == EventType::Begin)
            .filter(|event| matches!(event.detail, Detail::Turn { .. }));
        turns.count()
    };
    assert_eq!(turns(&saved), turns(&whole) + 1);
}

#[test]
fn parts_of_any_length_make_the_same_recording() {
    let mut recorded = Recorded::new(5);
    recorded.talk(10);
    recorded.save(|_| {});
    recorded.talk(10);
    let recorder = recorded.harness.server.reactor.recorder();
    let mut whole = Vec::new();
    trace::write(recorder, &mut whole).unwrap();
    for max_entries in [1, 2, 7, 256] {
        let (mut writer, mut parts) = (TraceWriter::default(), Vec::new());
        while !writer
            .write_part(recorder, &mut parts, max_entries)
            .unwrap()
        {}
        assert_eq!(parts, whole, "{max_entries}");
    }
}

/// One client leaves and another one takes its slot while the first recording is saved.
#[test]
fn the_next_recording_states_the_pause_and_what_changed_during_it() {
    let mut recorded = Recorded::new(3);
    recorded.talk(100);
    let pause_began = recorded.harness.now;
    let mut is_first = true;
    recorded.save(|recorded| {
        if std::mem::take(&mut is_first) {
            recorded.clients.remove(1).borrow_mut().reset_by_client();
            recorded.harness.advance(Duration::from_millis(1));
            recorded.harness.step();
            let client = recorded.harness.client(ScriptedStream::unlimited());
            recorded.clients.push(client);
        }
        recorded.send();
    });
    let pauses = |path: &Path| {
        let pauses = load(path).into_iter();
        let pauses = pauses.filter(|event| event.detail == Detail::Pause {});
        pauses.collect::<Vec<_>>()
    };
    assert!(
        pauses(&recorded.path()).is_empty(),
        "it ends where the pause begins"
    );
    recorded.talk(10);
    recorded.save(|_| {});
    let events = load(&recorded.path());
    let pauses = pauses(&recorded.path());
    let [pause] = pauses.as_slice() else {
        panic!("{pauses:?}");
    };
    let (began, lasted) = (pause.begins_us, pause.lasts_us.unwrap());
    assert!(began >= pause_began.since(helloop::reactor::Time::ZERO).as_micros() as f64);
    assert!(lasted > 0.0);
    // What each slot's track shows before and after the pause: three clients, one of them another.
    let lifetimes = |is_wanted: &dyn Fn(f64) -> bool| {
        let begin = events
            .iter()
            .filter(|event| event.ph == EventType::Begin && event.detail == Detail::Lifetime {})
            .filter(|event| is_wanted(event.begins_us));
        let mut names: Vec<_> = begin.map(|event| event.name.as_str()).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(lifetimes(&|at| at < began), ["#0.0", "#1.0", "#2.0"]);
    assert_eq!(
        lifetimes(&|at| at >= began + lasted),
        ["#0.0", "#1.1", "#2.0"]
    );
    // During the pause, nothing is open and nothing happens.
    let mut depth = 0;
    for event in &events {
        match event.ph {
            EventType::Begin => depth += 1,
            EventType::End => depth -= 1,
            _ => {}
        }
        if event.detail == (Detail::Pause {}) {
            assert_eq!(depth, 0);
        }
        let is_during = event.begins_us > began && event.begins_us < began + lasted;
        assert!(!is_during, "{event:?}");
    }
}

#[test]
fn a_second_request_while_a_recording_is_saved_changes_nothing() {
    let mut recorded = Recorded::new(5);
    recorded.talk(200);
    let turns = recorded.save(Recorded::request);
    assert!(turns > 5);
    recorded.harness.server.shared.requested.recording = false;
    // The end of the run during a save: everything is saved at once.
    recorded.talk(50);
    recorded.request();
    recorded.harness.step();
    assert!(recorded.partial_bytes().is_some());
    recorded.harness.server.save_recording().unwrap();
    assert_eq!(recorded.partial_bytes(), None);
    let last = load(&recorded.path());
    assert_eq!(
        last.iter()
            .filter(|event| event.detail == Detail::Pause {})
            .count(),
        2
    );
}

/// The name of the new file used to be FILE.PID.partial, and whatever that linked to was overwritten.
#[test]
fn no_link_is_followed_when_a_recording_is_saved() {
    let folder = tempfile::tempdir().unwrap();
    let (path, victim) = (
        folder.path().join("loop.json"),
        folder.path().join("victim"),
    );
    fs::write(&victim, "precious").unwrap();
    std::os::unix::fs::symlink(&victim, &path).unwrap();
    let server = util::Server::start(&["--record", path.to_str().unwrap()]);
    let guessed = folder
        .path()
        .join(format!("loop.json.{}.partial", server.id()));
    std::os::unix::fs::symlink(&victim, &guessed).unwrap();
    server.assert_serves();
    server.signal(Signal::SIGUSR2);
    server.stderr().wait_for("helloop show");
    assert_eq!(server.stop().code, Some(0));
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    assert!(
        fs::symlink_metadata(&path).unwrap().is_file(),
        "the link itself is replaced"
    );
    assert!(load(&path).len() > 10);
}

#[test]
fn a_full_disk_is_one_line_and_exit_code_1_and_the_summary_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("loop.json");
    let flags = ["--record", path.to_str().unwrap()];
    let server = Setup::new(&flags).full_disk().start();
    ask(&mut server.connect(), b"Ada", b"Hello, Ada!");
    server.signal(Signal::SIGUSR2);
    server.stderr().wait_for("cannot write the recording to");
    server.assert_serves();
    let ended = server.stop();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(
        ended.stdout.contains("served 2 clients, 2 messages"),
        "{}",
        ended.stdout
    );
    let last = ended.stderr.lines().last().unwrap();
    assert!(
        last.starts_with("error: cannot write the recording to "),
        "{last}"
    );
    let left = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 0, "the incomplete file is removed");
}

#[test]
fn an_unwritable_file_is_reported_before_the_server_listens() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("no/such/folder/loop.json");
    for path in [missing.as_path(), folder.path()] {
        let flags = ["--listen", "127.0.0.1:0", "--record"];
        let ended =
            util::run_helloop(&[&["serve"], &flags[..], &[path.to_str().unwrap()]].concat());
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
        assert!(
            ended.stderr.contains("cannot record to"),
            "{}",
            ended.stderr
        );
    }
}

#[test]
fn sigusr2_without_a_recording_is_harmless() {
    for flags in [&[][..], &["--observe", "127.0.0.1:0"]] {
        let server = util::Server::start(flags);
        server.signal(Signal::SIGUSR2);
        server.stderr().wait_for("--record FILE");
        server.assert_serves();
    }
}

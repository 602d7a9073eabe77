//! The JSON form of the report, and the files that reports are written to.

use crate::faulty::{answer, serving};
use crate::util::{Process, Server, readme};
use crate::{SHORT, run, spawned, start, stress, with_report};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Write;
use std::process::Command;

/// The parts of the JSON form in README.md, each a JSON pointer and its keys: `slos[]` is
/// `/slos/0`, and `top` is the whole report.
fn keys_of_the_readme() -> Vec<(String, BTreeSet<&'static str>)> {
    let rows = readme::between("| part | keys |\n| --- | --- |\n", "\n\n").lines();
    rows.map(|row| {
        let (part, keys) = row.trim_matches('|').split_once(" | ").expect("two cells");
        let part = readme::quoted(part)
            .first()
            .map_or_else(String::new, |name| {
                format!("/{}", name.replace('.', "/").replace("[]", "/0"))
            });
        // A remark in parentheses is about the key before it.
        let pieces = keys.split('(').enumerate();
        let outside = pieces.map(|(index, piece)| match index {
            0 => piece,
            _ => piece.split_once(')').expect("a closing parenthesis").1,
        });
        (part, outside.flat_map(readme::quoted).collect())
    })
    .collect()
}

#[test]
#[cfg_attr(
    any(not(target_os = "linux"), feature = "portable"),
    ignore = "process figures need Linux"
)]
fn the_json_form_has_the_keys_of_the_readme() {
    let flags = "--udp --clients 5 --duration 500ms --slo max<60s";
    let (ended, report) = spawned(flags);
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert_eq!(report["schema_version"], 2);
    let parts = keys_of_the_readme();
    assert_eq!(parts.len(), 16);
    for (part, keys) in parts {
        let found = report.pointer(&part).and_then(Value::as_object);
        let found = found.unwrap_or_else(|| panic!("no {part} in {report:#}"));
        let found: BTreeSet<&str> = found.keys().map(String::as_str).collect();
        assert_eq!(found, keys, "{part}");
    }
}

#[test]
fn reports_are_written_to_their_files() {
    let folder = tempfile::tempdir().unwrap();
    let [json, html] = ["run.json", "run.html"].map(|name| folder.path().join(name));
    let files = format!("--json {} --html {}", json.display(), html.display());
    let server = serving(|number, mut stream| {
        let welcome: &[u8] = if number == 0 { b"<b>&" } else { b"Welcome!" };
        let _ = stream.write_all(welcome);
        while answer(&mut stream) {}
    });
    let ended = run(&format!("--to {server} {SHORT} {files}"));
    assert_eq!(ended.code, Some(4), "{ended:#?}");
    assert!(
        ended.stdout.contains("instead of the welcome: \"<b>&\""),
        "{ended:#?}"
    );
    let report: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    assert_eq!(report["clients"]["wrong_welcome"], "<b>&");
    let page = std::fs::read_to_string(html).unwrap();
    assert_eq!(page.matches("<figure").count(), 6);
    assert!(page.contains("&lt;b&gt;&amp;") && !page.contains("<b>"));
    let flags = "--spawn --clients 1 --messages 5 --warmup 0s --json /nowhere/run.json";
    let ended = run(flags);
    assert_eq!(ended.code, Some(1), "{ended:#?}");
}

/// Reports of all kinds of runs, by name.
fn reports() -> Vec<(&'static str, Value)> {
    #[cfg(unix)] // by a signal
    let interrupted = {
        let server = Server::start(&[]);
        let load = start(&format!(
            "--to {} --clients 10 --duration 60s --warmup 0s --json -",
            server.tcp_address()
        ));
        server.wait_for_messages(100);
        load.signal(nix::sys::signal::Signal::SIGINT);
        with_report(load.wait()).1
    };
    let busy = serving(|_, mut stream| {
        let _ = stream.write_all(b"Busy: 1 of 1 clients connected\n");
    });
    vec![
        ("closed", spawned(&format!("{SHORT} --slo p99<5s")).1),
        (
            "open",
            spawned(&format!("{SHORT} --rate 1000 --slo rate>1 -- --delay 1ms")).1,
        ),
        ("udp", spawned(&format!("{SHORT} --udp --slo loss<1")).1),
        (
            "a number",
            spawned("--clients 2 --messages 50 --connect-rate 100").1,
        ),
        #[cfg(unix)]
        ("interrupted", interrupted),
        ("refused", stress(busy, SHORT).1),
    ]
}

#[test]
fn every_report_is_valid_by_the_schema_that_helloop_prints() {
    let ended = run("--json-schema");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let schema: Value = serde_json::from_str(&ended.stdout).unwrap();
    jsonschema::meta::validate(&schema).unwrap();
    let options = jsonschema::options().should_validate_formats(true);
    let validator = options.build(&schema).unwrap();
    let errors = |report: &Value| -> Vec<String> {
        let errors = validator.iter_errors(report);
        errors
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect()
    };
    let reports = reports();
    for (name, report) in &reports {
        assert_eq!(errors(report), [""; 0], "{name}");
    }
    // The schema is strict: each of these changes makes a report invalid.
    let (_, closed) = &reports[0];
    for (pointer, key, value) in [
        ("", "another", json!(1)),
        ("/latency", "p42_us", json!(1.0)),
        ("/seconds/0", "another", Value::Null),
        ("/load", "cpu_share", json!(0.5)),
        ("", "schema_version", json!(1)),
        ("", "started", json!("yesterday")),
        ("/plan", "transport", json!("sctp")),
        ("/plan", "clients", json!(-1)),
        ("/latency/histogram", "encoded", json!("H4sI")),
    ] {
        let mut report = closed.clone();
        report.pointer_mut(pointer).unwrap()[key] = value;
        assert_ne!(errors(&report), [""; 0], "{pointer}/{key}");
    }
    for pointer in ["", "/messages", "/latency", "/seconds/0", "/verdict"] {
        let mut report = closed.clone();
        let part = report
            .pointer_mut(pointer)
            .unwrap()
            .as_object_mut()
            .unwrap();
        let first = part.keys().next().unwrap().clone();
        part.remove(&first);
        assert_ne!(errors(&report), [""; 0], "{pointer} without {first}");
    }
}

/// Each key is described, so that the schema needs no other document.
#[test]
fn the_schema_describes_every_key() {
    let schema: Value = serde_json::from_str(&run("--json-schema").stdout).unwrap();
    let definitions = schema["$defs"].as_object().unwrap().values();
    let objects: Vec<_> = definitions
        .chain([&schema])
        .filter(|definition| definition["type"] == "object")
        .collect();
    assert!(objects.len() > 10, "{schema:#}");
    for object in objects {
        assert_eq!(object["additionalProperties"], false, "{object:#}");
        for (key, property) in object["properties"].as_object().unwrap() {
            let description = property["description"].as_str();
            let description = description.unwrap_or_else(|| panic!("{key} has no description"));
            assert!(!description.contains(['\n', '[']), "{key}: {description}");
        }
    }
}

/// The CPU of each second adds up to that of the measured window, without the idle time before it.
#[test]
#[cfg_attr(
    any(not(target_os = "linux"), feature = "portable"),
    ignore = "process figures need Linux"
)]
fn each_second_has_its_share_of_the_cpu() {
    let (_, report) = spawned("--clients 20 --connect-rate 10 --duration 3s --warmup 0s");
    let seconds = report["seconds"].as_array().unwrap();
    let measured: Vec<_> = seconds
        .iter()
        .filter(|second| second["measured"] == true)
        .collect();
    assert!(measured.len() >= 2, "{report:#}");
    let parts = [
        ("server_cpu_share", &report["server"]),
        ("load_cpu_share", &report["load"]["process"]),
    ];
    for (key, process) in parts {
        let sum: f64 = measured
            .iter()
            .map(|second| second[key].as_f64().unwrap())
            .sum();
        let mean = sum / measured.len() as f64;
        let whole = process["cpu_share"].as_f64().unwrap();
        assert!(whole > 0.0, "{report:#}");
        assert!(
            (mean / whole - 1.0).abs() < 0.25,
            "{key}: {mean} against {whole}"
        );
    }
}

/// Prints what HdrHistogram's Python library finds in the two histograms of a report, in
/// microseconds.
const READER: &str = "
import json, sys
from hdrh.histogram import HdrHistogram
report = json.load(sys.stdin)
for part in report['latency'], report['connects']['latency']:
    assert part['histogram']['unit'] == 'ns'
    histogram = HdrHistogram.decode(part['histogram']['encoded'])
    print(histogram.get_total_count(), *(histogram.get_value_at_percentile(percent) / 1e3
          for percent in (0, 50, 99, 100)))
";

/// An independent reader finds what the report says, to the three digits of the histogram.
#[test]
#[ignore = "needs Python's hdrhistogram"]
fn another_library_reads_the_histograms() {
    let (_, report) = spawned("--clients 200 --duration 500ms --warmup 0s");
    let mut python = Command::new("python3");
    python.args(["-c", READER]);
    let wheels = concat!(env!("CARGO_MANIFEST_DIR"), "/target/python");
    python.env("PYTHONPATH", wheels);
    let mut reader = Process::start(python);
    let mut stdin = reader.stdin.take().unwrap();
    stdin.write_all(report.to_string().as_bytes()).unwrap();
    drop(stdin);
    let ended = reader.wait();
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let parts = [&report["latency"], &report["connects"]["latency"]];
    assert_eq!(ended.stdout.lines().count(), 2, "{ended:#?}");
    for (line, part) in ended.stdout.lines().zip(parts) {
        let found: Vec<f64> = line.split(' ').map(|word| word.parse().unwrap()).collect();
        assert_eq!(found[0], part["samples"].as_f64().unwrap());
        for (key, found) in ["min_us", "p50_us", "p99_us", "max_us"]
            .iter()
            .zip(&found[1..])
        {
            let Some(reported) = part[key].as_f64() else {
                assert_eq!((*key, part["samples"].as_u64()), ("p99_us", Some(200)));
                continue;
            };
            assert!(
                (found - reported).abs() <= reported * 0.001 + 0.001,
                "{key}: {found} against {reported}"
            );
        }
    }
}

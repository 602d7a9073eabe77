//! The report for programs, and where reports go.

use crate::misbehaving::{answer, serving};
use crate::{BRIEF, run, spawned};
use serde_json::Value;
use std::io::Write;

/// Each key of the JSON form, as the README names them.
const KEYS: [(&str, &str); 14] = [
    (
        "",
        "clients connects datagrams distribution exit_code helloop_version interrupted latency \
         load messages plan schema_version seconds served server slos verdict",
    ),
    (
        "/plan",
        "active clients connect_rate framing loop message_bytes messages pipeline rate seconds \
         sources timeout_seconds to transport warmup_seconds",
    ),
    (
        "/clients",
        "answered busy_words connected first_error greeted lost lost_by_cause peak requested \
         wrong_bytes wrong_welcome",
    ),
    ("/connects", "latency per_second seconds"),
    (
        "/messages",
        "answered bytes_in bytes_out per_second seconds sent unanswered",
    ),
    (
        "/latency",
        "max_us mean_us min_us p50_us p90_us p99_9_us p99_us samples",
    ),
    ("/distribution/0", "count from_us to_us"),
    (
        "/seconds/0",
        "at_seconds connected measured p99_us per_second",
    ),
    ("/served", "best worst"),
    ("/datagrams", "doubled late lost wrong"),
    (
        "/server",
        "bytes_per_client context_switches cpu_share cpu_us_per_message resident_bytes threads",
    ),
    (
        "/load",
        "behind_max_us behind_mean_us bytes_per_client context_switches cpu_share \
         cpu_us_per_message loop_lag_max_us loop_lag_mean_us resident_bytes threads",
    ),
    ("/verdict", "achieved limited_by_client shortcomings words"),
    ("/slos/0", "measured met slo"),
];

#[test]
#[cfg_attr(
    any(not(target_os = "linux"), feature = "portable"),
    ignore = "Linux alone knows a process's figures"
)]
fn the_json_form_keeps_its_keys() {
    let flags = "--udp --clients 5 --duration 500ms --slo max<60s";
    let (ended, report) = spawned(flags);
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert_eq!(report["schema_version"], 1);
    for (part, keys) in KEYS {
        let found = report.pointer(part).and_then(Value::as_object);
        let found = found.unwrap_or_else(|| panic!("no {part} in {report:#}"));
        let mut found: Vec<&str> = found.keys().map(String::as_str).collect();
        found.sort_unstable();
        assert_eq!(found.join(" "), keys, "{part}");
    }
}

#[test]
fn reports_go_where_they_are_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let [json, html] = ["run.json", "run.html"].map(|name| folder.path().join(name));
    let files = format!("--json {} --html {}", json.display(), html.display());
    let server = serving(|number, mut stream| {
        let welcome: &[u8] = if number == 0 { b"<b>&" } else { b"Welcome!" };
        let _ = stream.write_all(welcome);
        while answer(&mut stream) {}
    });
    let ended = run(&format!("--to {server} {BRIEF} {files}"));
    assert_eq!(ended.code, Some(4), "{ended:#?}");
    assert!(
        ended.stdout.contains("instead of the welcome: \"<b>&\""),
        "{ended:#?}"
    );
    let report: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    assert_eq!(report["clients"]["wrong_welcome"], "<b>&");
    let page = std::fs::read_to_string(html).unwrap();
    assert_eq!(page.matches("<svg").count(), 4);
    assert!(page.contains("&lt;b&gt;&amp;") && !page.contains("<b>"));
    // Whoever opens it needs no network, and nobody learns of it.
    for reference in [
        "http:", "https:", "src=", "href=", "url(", "@import", "<script",
    ] {
        assert!(!page.contains(reference), "{reference}");
    }
    let flags = "--spawn --clients 1 --messages 5 --warmup 0s --json /nowhere/run.json";
    let ended = run(flags);
    assert_eq!(ended.code, Some(1), "{ended:#?}");
}

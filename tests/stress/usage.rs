//! What is refused before a run, and what the exit code says after one.

use crate::util::Server;
use crate::{run, spawned, stress};
use serde_json::Value;

#[test]
fn where_nothing_listens_it_says_how_to_start_a_server() {
    // A port that nobody is given by chance, a client of its own server least of all.
    let to = "127.0.0.1:1";
    for flags in ["--udp", ""] {
        let ended = run(&format!("--to {to} --duration 1s {flags}"));
        assert_eq!(ended.code, Some(1), "{ended:#?}");
        assert!(
            ended
                .stderr
                .contains(&format!("helloop serve --listen {to}")),
            "{ended:#?}"
        );
    }
}

#[test]
fn wrong_usage_is_told() {
    for flags in [
        "--clients 5 --active 6",
        "--pipeline 2",
        "--name exit",
        "--size 1025",
        "--udp --size 7",
        "--slo p99=5ms",
        "--duration 1s --messages 5",
        "--rate 0",
        "--spawn --to 127.0.0.1:9999",
        "-- --delay 1s",
    ] {
        let ended = run(flags);
        assert_eq!(ended.code, Some(2), "{flags:?}: {ended:#?}");
        // clap itself shows no usage where a value is wrong.
        let usage = ended.stderr.lines().find(|line| line.contains("Usage:"));
        let is_own = |line: &str| line.starts_with("Usage: helloop stress ");
        assert!(usage.is_none_or(is_own), "{flags:?}: {ended:#?}");
    }
}

#[test]
fn the_check_alone_tells_what_does_not_fit() {
    let fits = run("--check --clients 10");
    assert_eq!(fits.code, Some(0), "{fits:#?}");
    assert!(fits.stdout.contains("descriptors") && fits.stdout.contains("ports"));
    let not = run("--check --clients 9999999");
    assert_eq!(not.code, Some(1), "{not:#?}");
    assert!(not.stdout.contains("ulimit -Hn 10000015"), "{not:#?}");
    let run = run("--clients 9999999");
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""));
}

#[test]
fn a_missed_objective_is_exit_code_3_and_a_missed_load_is_4() {
    let flags = "--clients 10 --duration 500ms --warmup 0s --slo";
    let (ended, report) = spawned(&format!("{flags} p50<60s"));
    assert_eq!(
        (ended.code, &report["slos"][0]["met"]),
        (Some(0), &Value::Bool(true))
    );
    let (ended, report) = spawned(&format!("{flags} min<1ns --slo max<60s"));
    assert_eq!(ended.code, Some(3), "{ended:#?}");
    assert_eq!(
        (&report["slos"][0]["met"], &report["slos"][1]["met"]),
        (&false.into(), &true.into())
    );
    // A percentile that the samples do not support is not met.
    let few = "--clients 1 --messages 20 --warmup 0s --slo p99.9<60s";
    let (ended, report) = spawned(few);
    assert_eq!(ended.code, Some(3));
    assert!(report["slos"][0]["measured"].is_null());
    let server = Server::start(&["--max-clients", "5"]);
    let (ended, _) = stress(server.tcp_address(), &format!("{flags} min<1ns"));
    assert_eq!(ended.code, Some(4), "4 where 3 holds too");
}

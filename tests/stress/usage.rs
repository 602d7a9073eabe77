//! What is rejected before a run, and the exit codes.

use crate::util::Server;
use crate::{run, spawned, stress};
use serde_json::Value;

#[test]
fn without_a_server_the_error_says_how_to_start_one() {
    // The system never assigns this port to a socket by itself.
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
fn wrong_usage_is_rejected() {
    for flags in [
        "--clients 5 --active 6",
        "--pipeline 2",
        "--name exit",
        "--size 1025",
        "--udp --size 7",
        "--slo p99=5ms",
        "--duration 1s --messages 5",
        "--rate 0",
        "--rate 0.5",
        "--connect-rate 1.5",
        "--messages 0.1",
        "--clients 99.9",
        "--slo loss<1",
        "--active 0 --messages 5",
        "--active 0 --rate 5",
        "--active 0 --slo p99<5ms",
        "--spawn --to 127.0.0.1:9999",
        "-- --delay 1s",
    ] {
        let ended = run(flags);
        assert_eq!(ended.code, Some(2), "{flags:?}: {ended:#?}");
        // clap shows no usage for an invalid value.
        let usage = ended.stderr.lines().find(|line| line.contains("Usage:"));
        let is_of_stress = |line: &str| line.starts_with("Usage: helloop stress ");
        assert!(usage.is_none_or(is_of_stress), "{flags:?}: {ended:#?}");
    }
}

#[test]
fn check_reports_what_does_not_fit() {
    let fits = run("--check --clients 10");
    assert_eq!(fits.code, Some(0), "{fits:#?}");
    assert!(fits.stdout.contains("descriptors") && fits.stdout.contains("ports"));
    // A server that is started reserves more descriptors than the load does.
    let spawned = run("--check --clients 10 --spawn");
    assert!(
        spawned
            .stdout
            .contains("the server has as many, and reserves")
    );
    let too_many = run("--check --clients 9999999");
    assert_eq!(too_many.code, Some(1), "{too_many:#?}");
    assert!(
        too_many.stdout.contains("ulimit -Hn 10000015"),
        "{too_many:#?}"
    );
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
    // An objective with too few samples is missed.
    let few = "--clients 1 --messages 20 --warmup 0s --slo p99.9<60s";
    let (ended, report) = spawned(few);
    assert_eq!(ended.code, Some(3));
    assert!(report["slos"][0]["measured"].is_null());
    let server = Server::start(&["--max-clients", "5"]);
    let (ended, _) = stress(server.tcp_address(), &format!("{flags} min<1ns"));
    assert_eq!(ended.code, Some(4), "4 takes precedence over 3");
}

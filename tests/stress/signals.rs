//! Interrupted runs, and the end of a spawned server.

use crate::process::{child_of, group_of, is_gone, wait_for};
use crate::util::{IS_LINUX_CODE, Server};
use crate::{start, with_report};
use nix::sys::signal::Signal;
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn ctrl_c_and_a_hangup_end_the_run_with_a_report() {
    let server = Server::start(&[]);
    let to = server.tcp_address();
    let flags = "--clients 10 --duration 60s --warmup 100ms --json -";
    let signals = [Signal::SIGINT, Signal::SIGHUP];
    for &signal in &signals[..if IS_LINUX_CODE { 2 } else { 1 }] {
        let load = start(&format!("--to {to} {flags}"));
        thread::sleep(Duration::from_millis(1_500));
        load.signal(signal);
        let (ended, report) = with_report(load.wait());
        assert_eq!(ended.code, Some(130), "{ended:#?}");
        assert_eq!(report["interrupted"], true);
        assert!(report["messages"]["answered"].as_u64().unwrap() > 0);
        assert!(report["messages"]["seconds"].as_f64().unwrap() < 30.0);
    }
}

#[test]
fn a_second_ctrl_c_exits_at_once() {
    let load = start("--spawn --clients 5 --warmup 0s -- --delay 9s");
    let server = wait_for(|| child_of(load.id()));
    thread::sleep(Duration::from_millis(1_000));
    load.signal(Signal::SIGINT);
    // The report is out, and the server drains its delayed replies.
    load.stdout.wait_for("INTERRUPTED");
    load.signal(Signal::SIGINT);
    let interrupted = Instant::now();
    wait_for(|| is_gone(load.id()).then_some(()));
    assert!(interrupted.elapsed() < Duration::from_secs(4));
    let ended = load.wait();
    assert_eq!(ended.code, Some(130), "{ended:#?}");
    // The server exits at EOF on its standard input.
    wait_for(|| is_gone(server).then_some(()));
}

#[test]
fn a_spawned_server_does_not_outlive_a_load_that_is_killed() {
    for model in ["reactor", "threads"] {
        let load = start(&format!(
            "--spawn --clients 5 --duration 60s -- --model {model}"
        ));
        let server = wait_for(|| child_of(load.id()));
        // Its own process group: Ctrl-C in a terminal does not reach it.
        assert_eq!(group_of(server), Some(server));
        load.signal(Signal::SIGKILL);
        load.wait();
        wait_for(|| is_gone(server).then_some(()));
    }
}

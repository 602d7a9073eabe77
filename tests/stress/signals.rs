//! Interrupted runs, and the end of a spawned server.

use crate::process::{child_of, group_of, is_gone, wait_for};
use crate::util::{Process, Server, handles_hangup, helloop, is_ignored};
use crate::{start, with_report};
use nix::sys::signal::Signal;
use std::net::{TcpListener, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

/// At once, on any machine: half a second of it is the server's. Far less than any delay here.
const SOON: Duration = Duration::from_secs(8);

#[test]
fn ctrl_c_and_a_hangup_end_the_run_with_a_report() {
    let flags = "--clients 10 --duration 60s --warmup 0s --json -";
    let signals = [Signal::SIGINT, Signal::SIGHUP];
    for &signal in &signals[..if handles_hangup() { 2 } else { 1 }] {
        let server = Server::start(&[]);
        let load = start(&format!("--to {} {flags}", server.tcp_address()));
        server.wait_for_messages(100);
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
    let load = start("--spawn --clients 5 --warmup 0s -- --delay 60s --drain-timeout 60s");
    let server = wait_for(|| child_of(load.id()));
    thread::sleep(Duration::from_millis(1_000));
    load.signal(Signal::SIGINT);
    // The report is out, and the server may drain for a moment.
    load.stdout.wait_for("interrupted ");
    load.stderr
        .wait_for("draining the server for up to 1s; Ctrl-C ends it at once");
    load.signal(Signal::SIGINT);
    let interrupted = Instant::now();
    wait_for(|| is_gone(load.id()).then_some(()));
    let ended = load.wait();
    assert_eq!(ended.code, Some(130), "{ended:#?}");
    // The server ends at EOF on its standard input, without a drain.
    wait_for(|| is_gone(server).then_some(()));
    assert!(interrupted.elapsed() < SOON);
}

#[test]
fn one_signal_ends_the_load_and_its_server_whatever_they_wait_for() {
    let stress = "stress --spawn --clients 5 --warmup 0s --duration 1h";
    let delayed = "-- --delay 60s --drain-timeout 60s";
    for (command, signal) in [
        (format!("{stress} {delayed}"), Signal::SIGINT),
        (
            format!("{stress} {delayed} --model threads"),
            Signal::SIGTERM,
        ),
        (
            "compare --clients 5 --duration 1h".to_owned(),
            Signal::SIGINT,
        ),
        (
            "compare --clients 5 --duration 1h".to_owned(),
            Signal::SIGTERM,
        ),
    ] {
        let arguments: Vec<_> = command.split_whitespace().collect();
        let load = Process::start(helloop(&arguments));
        let server = wait_for(|| child_of(load.id()));
        thread::sleep(Duration::from_millis(500));
        load.signal(signal);
        let signalled = Instant::now();
        wait_for(|| (is_gone(load.id()) && is_gone(server)).then_some(()));
        assert!(signalled.elapsed() < SOON, "{command}");
        let ended = load.wait();
        assert_eq!(ended.code, Some(130), "{command}: {ended:#?}");
        // Whatever there was to report is reported.
        assert!(!ended.stdout.is_empty(), "{command}: {ended:#?}");
    }
}

/// After the run the report may wait for a reader, and the server may drain.
#[test]
fn a_signal_after_the_run_ends_the_process_at_once() {
    let load = start(
        "--spawn --clients 1 --messages 1 --warmup 0s --timeout 500ms \
         -- --delay 60s --drain-timeout 60s",
    );
    let server = wait_for(|| child_of(load.id()));
    load.stderr.wait_for("draining the server");
    load.signal(Signal::SIGTERM);
    let signalled = Instant::now();
    wait_for(|| (is_gone(load.id()) && is_gone(server)).then_some(()));
    assert!(signalled.elapsed() < SOON);
    let ended = load.wait();
    assert_eq!(ended.code, Some(130), "{ended:#?}");
    assert!(ended.stdout.contains("NOT ACHIEVED"), "{ended:#?}");
}

#[test]
fn the_tcp_and_udp_clients_end_at_a_signal() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addresses = [listener.local_addr(), silent.local_addr()].map(Result::unwrap);
    for (command, address) in ["tcp", "udp"].iter().zip(addresses) {
        let signals = [Signal::SIGINT, Signal::SIGTERM];
        for signal in signals.into_iter().filter(|&signal| !is_ignored(signal)) {
            let to = address.to_string();
            let arguments = [command, "--to", &to, "--timeout", "1h", "Michael"];
            let client = Process::start(helloop(&arguments));
            let connection = match *command {
                "tcp" => Some(listener.accept().unwrap()),
                _ => silent.recv_from(&mut [0; 100]).map(|_| None).unwrap(),
            };
            client.signal(signal);
            assert_eq!(client.wait().code, None, "{command} {signal}");
            drop(connection);
        }
    }
}

#[test]
fn a_spawned_server_does_not_outlive_a_load_that_is_killed() {
    for model in ["reactor", "threads"] {
        let load = start(&format!(
            "--spawn --clients 5 --duration 60s -- --model {model} --delay 60s \
             --drain-timeout 60s"
        ));
        let server = wait_for(|| child_of(load.id()));
        // Its own process group: Ctrl-C in a terminal does not reach it.
        assert_eq!(group_of(server), Some(server));
        thread::sleep(Duration::from_millis(500));
        load.signal(Signal::SIGKILL);
        let killed = Instant::now();
        load.wait();
        wait_for(|| is_gone(server).then_some(()));
        assert!(killed.elapsed() < SOON, "{model}");
    }
}

//! Tests that measure time, and are retried because a busy machine can spoil a measurement.

use crate::{microseconds, spawned};

/// Attempts per test. One good run proves the program; a bad one may be due to the machine.
const TRIES: usize = 3;

/// Runs `attempt` until it succeeds, at most [`TRIES`] times.
#[track_caller]
pub(crate) fn measured(what: &str, attempt: impl Fn() -> Result<(), String>) {
    let mut failures = Vec::new();
    for _ in 0..TRIES {
        match attempt() {
            Ok(()) => return,
            Err(why) => failures.push(why),
        }
    }
    panic!("{what}: {failures:#?}");
}

#[test]
fn a_delay_of_20_ms_is_measured_as_20_ms() {
    measured("p50 is within 20 to 22 ms", || {
        let flags = "--clients 5 --duration 1s --warmup 100ms -- --delay 20ms";
        let (ended, report) = spawned(flags);
        assert_eq!(ended.code, Some(0), "{ended:#?}");
        let (min, p50) = (&report["latency"]["min_us"], &report["latency"]["p50_us"]);
        assert!(microseconds(min) >= 20_000.0, "a reply is early: {min}");
        let within = (20_000.0..22_000.0).contains(&microseconds(p50));
        let words = report["verdict"]["words"].as_str().unwrap();
        if within && words == "measured the server" {
            return Ok(());
        }
        Err(format!("p50 {p50}, {words}"))
    });
}

/// Tests that suspend a process.
#[cfg(unix)]
mod suspended {
    use super::measured;
    use crate::process::is_gone;
    use crate::util::{Server, TIMEOUT};
    use crate::{microseconds, start, with_report};
    use nix::sys::signal::Signal;
    use std::thread;
    use std::time::{Duration, Instant};

    #[test]
    fn a_slowed_load_is_limited_by_the_client() {
        measured("the load is reported as the limit", || {
            let server = Server::start(&[]);
            let to = server.tcp_address();
            let flags = "--clients 5 --duration 2s --rate 500 --json -";
            let load = start(&format!("--to {to} {flags}"));
            // Until it exits: on a busy machine it may start late.
            let deadline = Instant::now() + TIMEOUT;
            while !is_gone(load.id()) && Instant::now() < deadline {
                load.signal(Signal::SIGSTOP);
                thread::sleep(Duration::from_millis(150));
                load.signal(Signal::SIGCONT);
                thread::sleep(Duration::from_millis(50));
            }
            let (ended, report) = with_report(load.wait());
            // It may be stopped when the window ends, and then misses its rate too.
            assert!([Some(0), Some(4)].contains(&ended.code), "{ended:#?}");
            let words = report["verdict"]["words"].as_str().unwrap();
            assert_eq!(
                report["verdict"]["limited_by_client"],
                words.starts_with("limited by this client: ")
            );
            words
                .contains("behind its schedule")
                .then_some(())
                .ok_or_else(|| words.to_owned())
        });
    }

    /// Stops the server for two of four seconds; returns p90 and the maximum latency as shares of the
    /// stop.
    fn with_a_stall(flags: &str) -> (f64, f64) {
        let server = Server::start(&[]);
        let to = server.tcp_address();
        let common = "--clients 20 --duration 4s --warmup 0s --json -";
        let load = start(&format!("--to {to} {common} {flags}"));
        server.wait_for_messages(200);
        let stopped = Instant::now();
        server.signal(Signal::SIGSTOP);
        thread::sleep(Duration::from_secs(2));
        let stall = stopped.elapsed().as_secs_f64() * 1e6;
        server.signal(Signal::SIGCONT);
        let (ended, report) = with_report(load.wait());
        // The machine may pause at the end too, and miss the rate.
        assert!([Some(0), Some(4)].contains(&ended.code), "{ended:#?}");
        let latency = &report["latency"];
        (
            microseconds(&latency["p90_us"]) / stall,
            microseconds(&latency["max_us"]) / stall,
        )
    }

    /// Gil Tene's test of coordinated omission: half of the scheduled messages were due while the
    /// server was stopped, and waited for half of the stop on average.
    #[test]
    fn an_open_loop_shows_a_stall_that_a_closed_loop_hides() {
        measured(
            "the stall shows in p90 of the open loop, and not in that of the closed loop",
            || {
                let (open_p90, open_max) = with_a_stall("--rate 500");
                let (closed_p90, closed_max) = with_a_stall("");
                let shown = (0.75..=0.85).contains(&open_p90) && open_max >= 0.999;
                let hidden = closed_p90 < 0.1;
                let measured =
                    format!("open {open_p90} {open_max}, closed {closed_p90} {closed_max}");
                (shown && hidden).then_some(()).ok_or(measured)
            },
        );
    }
}

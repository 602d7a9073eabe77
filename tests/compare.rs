//! `helloop compare`: both models of the server under the same load.

mod util;

use serde_json::Value;
use util::run_helloop;

/// A short comparison; the number of clients follows.
const SHORT: [&str; 8] = [
    "compare",
    "--duration",
    "500ms",
    "--rounds",
    "1",
    "--delay",
    "100ms",
    "--clients",
];

/// The figures of each row.
const FIGURES: [&str; 10] = [
    "threads",
    "resident_bytes",
    "bytes_per_client",
    "context_switches",
    "connects_per_second",
    "messages_per_second",
    "cpu_us_per_message",
    "load_cpu_us_per_message",
    "p50_us",
    "p99_us",
];

#[test]
#[cfg_attr(
    any(not(target_os = "linux"), feature = "portable"),
    ignore = "process figures need Linux"
)]
fn both_models_are_compared_side_by_side() {
    let ended = run_helloop(&[&SHORT[..], &["300", "--json", "-"]].concat());
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let comparison: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(comparison["schema_version"], 2);
    let tables = comparison["tables"].as_array().unwrap();
    assert_eq!(tables.len(), 2);
    for table in tables {
        let rows = table["rows"].as_array().unwrap();
        let models: Vec<_> = rows
            .iter()
            .map(|row| row["model"].as_str().unwrap())
            .collect();
        assert_eq!(models, ["reactor", "threads"]);
        for row in rows {
            assert_eq!(row["rounds"], 1, "{row}");
            for figure in FIGURES {
                for value in ["median", "min", "max"] {
                    let value = &row["figures"][figure][value];
                    assert!(value.is_number(), "{figure} in {row}");
                }
            }
        }
        assert_eq!(rows[0]["figures"]["threads"]["median"], 1.0);
        assert!(rows[1]["figures"]["threads"]["median"].as_f64().unwrap() > 300.0);
    }
}

/// With signals, and limits that a shell sets.
#[cfg(unix)]
mod unix {
    use crate::SHORT;
    use crate::util::{self, Process, helloop};
    use nix::sys::signal::Signal;
    use std::thread;
    use std::time::{Duration, Instant};

    /// Ctrl-C before a round is complete is one line.
    #[test]
    #[cfg_attr(not(target_os = "linux"), ignore = "reads /proc")]
    fn an_interrupt_in_the_first_run_is_one_line() {
        let flags = ["compare", "--clients", "3", "--duration", "60s"];
        let process = Process::start(helloop(&flags));
        // Its first server runs, so it handles signals.
        let children = format!("/proc/{0}/task/{0}/children", process.id());
        let deadline = Instant::now() + Duration::from_secs(30);
        while std::fs::read_to_string(&children).is_ok_and(|ids| ids.is_empty()) {
            assert!(Instant::now() < deadline, "no server was started");
            thread::yield_now();
        }
        process.signal(Signal::SIGINT);
        let ended = process.wait();
        assert_eq!(ended.code, Some(130), "{ended:#?}");
        assert_eq!(ended.stdout, "interrupted before a round was complete\n");
    }

    /// A thread needs address space for its stack: if threads run out, a remark says so.
    #[test]
    #[cfg_attr(not(target_os = "linux"), ignore = "ulimit -v differs outside Linux")]
    fn a_model_that_cannot_hold_the_load_has_a_remark() {
        // Too little address space for the stacks of 600 threads, and enough for one event loop.
        let flags = [&SHORT[..], &["600"]].concat().join(" ");
        let mut shell = std::process::Command::new("sh");
        shell.args([
            "-c",
            "ulimit -v 700000; exec \"$0\" $1",
            util::HELLOOP,
            &flags,
        ]);
        let ended = util::run(shell);
        assert_eq!(ended.code, Some(0), "{ended:#?}");
        let remark = ended
            .stdout
            .lines()
            .find(|line| line.contains("cannot hold the load"));
        let remark = remark.unwrap_or_else(|| panic!("no remark: {ended:#?}"));
        assert!(remark.starts_with("threads "), "{remark}");
    }
}

//! Files with reports: a real one, and others made of it whose figures are known.

use crate::util::run_helloop;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tempfile::TempDir;

/// The report of a real run, the same for all tests.
pub(crate) fn real() -> Value {
    static REPORT: OnceLock<Value> = OnceLock::new();
    let report = REPORT.get_or_init(|| {
        let flags = "stress --spawn --clients 4 --duration 300ms --warmup 0s --slo p99<5s --json -";
        let ended = run_helloop(&flags.split_whitespace().collect::<Vec<_>>());
        serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:#?}"))
    });
    report.clone()
}

/// How many measured seconds a made report has.
pub(crate) const SECONDS: usize = 10;

/// The report of a run at `rate` messages per second with this p99. Its rate varies by 1%: the
/// quartiles of its seconds are the rate itself and 1% more.
pub(crate) fn made(rate: f64, p99_us: f64) -> Value {
    let mut report = real();
    report["messages"]["per_second"] = json!(rate);
    report["latency"]["p99_us"] = json!(p99_us);
    let seconds = (0..=SECONDS).map(|number| {
        let factor = if number % 2 == 0 { 1.0 } else { 1.01 };
        json!({
            "at_seconds": 1.5 + number as f64,
            "measured": number > 0,
            "per_second": rate * factor,
            "p50_us": p99_us / 2.0,
            "p99_us": p99_us * factor,
            "p99_9_us": if number == 5 { Value::Null } else { json!(p99_us * 1.5) },
            "connected": 100 + number,
            "server_cpu_share": 0.25,
            "load_cpu_share": 0.5,
            "loop_lag_mean_us": 40.0,
            "loop_lag_max_us": 90.0,
        })
    });
    report["seconds"] = seconds.collect();
    report
}

/// A folder of reports.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file and returns its path.
    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::write(&path, contents).unwrap();
        text_of(&path)
    }

    /// Writes the two reports that most tests compare.
    pub(crate) fn two(&self) -> [String; 2] {
        [
            self.write("before.json", made(10_000.0, 8_000.0).to_string()),
            self.write("after.json", made(20_000.0, 8_020.0).to_string()),
        ]
    }
}

pub(crate) fn text_of(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

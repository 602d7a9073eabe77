//! The progress of `helloop get`.
//!
//! **Owns** what the status line says during a fetch. **Must never touch** the fetch.
//! **Invariant**: the line holds no text that a server sent, apart from the address that a redirect
//! leads to, which has been parsed as a [`Url`](crate::client::http::url::Url).

use crate::client::http::Progress;
use crate::output::status::{Part, StatusLine, bar, ceil, clock, percent};
use crate::units;
use std::time::{Duration, Instant};

/// How often the line changes: faster updates are unreadable.
const INTERVAL: Duration = Duration::from_millis(100);

/// How much a part matters: of a line that is too long, the last of these is left out first.
#[derive(Clone, Copy, Debug)]
enum Rank {
    Percent,
    Bytes,
    Left,
    Rate,
    Stage,
    Length,
    Elapsed,
    Bar,
}

impl Rank {
    fn of(self, text: impl Into<String>) -> Part {
        Part::new(self as u8, text)
    }
}

/// The status line of a fetch.
#[derive(Debug)]
pub(super) struct GetProgress {
    line: StatusLine,
    started: Instant,
    shown: Option<Instant>,
    /// When the first part of the body arrived.
    body: Option<Instant>,
}

impl GetProgress {
    pub(super) fn start() -> Self {
        Self {
            line: StatusLine::start(),
            started: Instant::now(),
            shown: None,
            body: None,
        }
    }

    pub(super) fn show(&mut self, progress: Progress<'_>) {
        if !self.line.is_on() {
            return;
        }
        let now = Instant::now();
        if matches!(progress, Progress::Receiving { .. }) {
            self.body.get_or_insert(now);
        }
        if self.shown.is_some_and(|at| now - at < INTERVAL) {
            return;
        }
        self.shown = Some(now);
        let receiving = self.body.map_or(Duration::ZERO, |body| now - body);
        self.line
            .show(&parts(progress, now - self.started, receiving));
    }
}

/// The stage and its figures, after `elapsed` in all and `receiving` of the body.
fn parts(progress: Progress<'_>, elapsed: Duration, receiving: Duration) -> Vec<Part> {
    let elapsed = clock(elapsed) + " elapsed";
    let (bytes, length) = match progress {
        Progress::Connecting(to) => {
            let stage = format!("connecting to {to}");
            return vec![Rank::Stage.of(stage), Rank::Elapsed.of(elapsed)];
        }
        Progress::Waiting(to) => {
            let stage = format!("waiting for {to}");
            return vec![Rank::Stage.of(stage), Rank::Elapsed.of(elapsed)];
        }
        Progress::Receiving { bytes, length } => (bytes, length),
    };
    let rate = bytes as f64 / receiving.as_secs_f64().max(1e-9);
    let is_moving = bytes > 0 && receiving >= INTERVAL;
    let done = length.map(|length| bytes as f64 / length.max(1) as f64);
    let left = length.filter(|_| is_moving).and_then(|length| {
        let left = length.saturating_sub(bytes) as f64 / rate;
        Duration::try_from_secs_f64(left).ok()
    });
    let length = length.map(|length| format!("of {}", units::bytes(length as f64)));
    let rate = is_moving.then(|| units::bytes(rate) + "/s");
    vec![
        Rank::Stage.of("receiving"),
        Rank::Bar.of(done.map(bar).unwrap_or_default()),
        Rank::Percent.of(done.map(percent).unwrap_or_default()),
        Rank::Bytes.of(units::bytes(bytes as f64)),
        Rank::Length.of(length.unwrap_or_default()),
        Rank::Rate.of(rate.unwrap_or_default()),
        Rank::Elapsed.of(elapsed),
        Rank::Left.of(left
            .map(|left| clock(ceil(left)) + " left")
            .unwrap_or_default()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::status::fit;

    const MIB_BYTES: u64 = 1 << 20;

    #[test]
    fn a_narrow_line_leaves_out_what_matters_least() {
        let progress = Progress::Receiving {
            bytes: 45 * MIB_BYTES,
            length: Some(100 * MIB_BYTES),
        };
        let parts = parts(progress, Duration::from_secs(11), Duration::from_secs(10));
        for (columns, line) in [
            (
                120,
                "receiving  [#########           ]  45%  45 MiB  of 100 MiB  4.50 MiB/s  \
                 11s elapsed  13s left",
            ),
            (
                80,
                "receiving  45%  45 MiB  of 100 MiB  4.50 MiB/s  11s elapsed  13s left",
            ),
            (
                60,
                "receiving  45%  45 MiB  of 100 MiB  4.50 MiB/s  13s left",
            ),
            (40, "45%  45 MiB  4.50 MiB/s  13s left"),
            (20, "45%  45 MiB"),
        ] {
            assert_eq!(fit(&parts, columns), line, "{columns} columns");
        }
    }

    #[test]
    fn without_a_length_there_is_no_percentage() {
        let line = |progress| fit(&parts(progress, Duration::from_secs(2), INTERVAL), 80);
        for (progress, expected) in [
            (
                Progress::Connecting("h:80"),
                "connecting to h:80  2s elapsed",
            ),
            (Progress::Waiting("h:80"), "waiting for h:80  2s elapsed"),
            (
                Progress::Receiving {
                    bytes: 0,
                    length: Some(10),
                },
                "receiving  [                    ]  0%  0 B  of 10 B  2s elapsed",
            ),
            (
                Progress::Receiving {
                    bytes: 512,
                    length: None,
                },
                "receiving  512 B  5120 B/s  2s elapsed",
            ),
        ] {
            assert_eq!(line(progress), expected);
        }
    }
}

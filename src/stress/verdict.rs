//! Whether the figures of a run can be trusted: was the server the bottleneck, and did the load
//! do what was asked for?
//!
//! **Owns** the thresholds. **Must never touch** a counter: it only reads them. **Invariant**: a
//! run limited by the load generator is never reported as a measurement of the server.

use super::counters::Counters;
use super::plan::{Plan, Transport};
use std::time::Duration;

/// At this CPU share a process with one thread counts as saturated.
pub(crate) const BUSY_CPU_SHARE: f64 = 0.9;

/// The largest mean event-loop lag that is always accepted: a longer one shows in every latency.
/// Up to 1 ms of lag comes from `epoll_wait`, which waits whole milliseconds.
pub(crate) const MAX_LOOP_LAG: Duration = Duration::from_millis(5);

/// A longer mean event-loop lag is accepted up to this share of the mean latency. The limit is
/// the larger of the two.
pub(crate) const MAX_LOOP_LAG_SHARE: f64 = 0.1;

/// The largest mean delay behind the schedule: beyond it, another load was measured than the one
/// asked for.
pub(crate) const MAX_BEHIND: Duration = Duration::from_millis(5);

/// What the verdict is based on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Evidence {
    /// CPU seconds per second of the load generator; `None` if unknown.
    pub own_cpu_share: Option<f64>,
    /// CPU seconds per second of the server; `None` if unknown.
    pub server_cpu_share: Option<f64>,
    /// The mean event-loop lag of the load generator.
    pub loop_lag: Duration,
    /// The mean delay behind the schedule; zero in the closed loop.
    pub behind: Duration,
    /// The mean latency.
    pub mean_latency: Duration,
}

/// Why the load generator was the bottleneck; `None` if it was not.
#[must_use]
pub(crate) fn limited_by(evidence: &Evidence) -> Option<String> {
    let Evidence {
        own_cpu_share,
        server_cpu_share,
        loop_lag,
        behind,
        mean_latency,
    } = *evidence;
    if behind > MAX_BEHIND {
        return Some(format!(
            "it ran {behind:.1?} behind its schedule on average"
        ));
    }
    // A saturated server is the bottleneck, however busy the load generator is.
    if server_cpu_share.is_some_and(|share| share >= BUSY_CPU_SHARE) {
        return None;
    }
    if loop_lag > MAX_LOOP_LAG.max(mean_latency.mul_f64(MAX_LOOP_LAG_SHARE)) {
        return Some(format!("its loop came {loop_lag:.1?} late on average"));
    }
    let own = own_cpu_share.filter(|share| *share >= BUSY_CPU_SHARE)?;
    Some(format!("it used {:.0}% of its one processor", own * 100.0))
}

/// What the load did not do of what was asked for, one line each.
#[must_use]
pub(crate) fn shortcomings(plan: &Plan, counters: &Counters) -> Vec<String> {
    let mut missing = Vec::new();
    if counters.welcomed < plan.clients {
        missing.push(format!(
            "{} of {} clients were {}",
            counters.welcomed,
            plan.clients,
            match plan.transport {
                Transport::Tcp(_) => "connected and greeted",
                Transport::Udp => "opened",
            }
        ));
    }
    for (cause, lost) in counters.lost {
        if lost > 0 {
            missing.push(format!("{lost} clients lost: {}", cause.name()));
        }
    }
    if counters.missing_line_ending > 0 {
        missing.push(format!(
            "{} clients lacked their line's ending alone: try --framing chunk",
            counters.missing_line_ending
        ));
    }
    if counters.datagrams.wrong > 0 {
        missing.push(format!("{} wrong datagrams", counters.datagrams.wrong));
    }
    // UDP may lose a message, and the report counts it; TCP may not.
    if counters.unanswered > 0 && plan.transport != Transport::Udp {
        missing.push(format!(
            "{} messages were not answered",
            counters.unanswered
        ));
    }
    if counters.answered_once < plan.active && counters.sent > 0 {
        missing.push(format!(
            "{} of {} talking clients were answered",
            counters.answered_once, plan.active
        ));
    }
    if counters.answered == 0 {
        missing.push("no message that counts was answered".to_owned());
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::super::counters::LossCause;
    use super::super::plan::tests::plan;
    use super::*;

    #[test]
    fn each_threshold_limits_the_verdict() {
        let fine = Evidence {
            own_cpu_share: Some(0.5),
            server_cpu_share: Some(0.6),
            loop_lag: Duration::from_millis(1),
            behind: Duration::from_millis(1),
            mean_latency: Duration::from_millis(50),
        };
        assert_eq!(limited_by(&fine), None);
        let cases = [
            (
                Evidence {
                    own_cpu_share: Some(0.97),
                    ..fine
                },
                "97%",
            ),
            (
                Evidence {
                    loop_lag: Duration::from_millis(6),
                    ..fine
                },
                "6.0ms late",
            ),
            (
                Evidence {
                    behind: Duration::from_millis(7),
                    ..fine
                },
                "7.0ms behind",
            ),
        ];
        for (evidence, words) in cases {
            let limit = limited_by(&evidence).expect(words);
            assert!(limit.contains(words), "{limit}");
        }
        let slow_server = Evidence {
            loop_lag: Duration::from_millis(6),
            mean_latency: Duration::from_millis(61),
            ..fine
        };
        assert_eq!(limited_by(&slow_server), None);
        let both_busy = Evidence {
            own_cpu_share: Some(1.0),
            server_cpu_share: Some(0.95),
            ..fine
        };
        assert_eq!(limited_by(&both_busy), None);
    }

    #[test]
    fn fewer_clients_wrong_bytes_and_lost_clients_are_shortcomings() {
        let mut counters = Counters {
            welcomed: 1,
            answered_once: 1,
            sent: 5,
            answered: 5,
            ..Counters::default()
        };
        assert!(shortcomings(&plan(), &counters).is_empty());
        counters.lost[LossCause::WrongBytes] = 1;
        counters.unanswered = 1;
        counters.welcomed = 0;
        let missing = shortcomings(&plan(), &counters).join("; ");
        for words in ["0 of 1 clients", "wrong bytes", "1 messages were not"] {
            assert!(missing.contains(words), "{missing}");
        }
    }
}

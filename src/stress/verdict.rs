//! Whether to believe a run: what it measured, and whether it did what was asked of it.
//!
//! **Owns** the thresholds. **Must never touch** a counter: it judges them. **Invariant**: a
//! run whose own program set the limit never passes for a measurement of the server.

use super::counters::Counters;
use super::plan::{Plan, Transport};
use std::time::Duration;

/// From this share of one processor on the load, which has one thread, may be what is slow.
pub const BUSY_CPU_SHARE: f64 = 0.9;

/// A loop that comes so late to its own ticks, on average, shows its own delay in every latency.
/// The poll's whole milliseconds make up to one of it.
pub const MOST_LOOP_LAG: Duration = Duration::from_millis(5);

/// The loop's lag may be longer than that where latencies are: up to this share of the mean.
pub const MOST_LOOP_LAG_SHARE: f64 = 0.1;

/// A schedule that is carried out so late, on average, is another schedule.
pub const MOST_BEHIND: Duration = Duration::from_millis(5);

/// What a verdict rests on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Evidence {
    /// Processors' time a second that the load used; `None` where it is not known.
    pub own_cpu_share: Option<f64>,
    /// The same of the server.
    pub server_cpu_share: Option<f64>,
    /// How late the loop came to its ticks, on average.
    pub loop_lag: Duration,
    /// How late the schedule was carried out, on average; zero in the closed loop.
    pub behind: Duration,
    /// The mean latency.
    pub latency: Duration,
}

/// Why the run says more about the load than about the server; `None` if it does not.
#[must_use]
pub fn limited_by(evidence: &Evidence) -> Option<String> {
    let Evidence {
        own_cpu_share,
        server_cpu_share,
        loop_lag,
        behind,
        latency,
    } = *evidence;
    // Whoever has the server at its own limit measures the server, busy or not.
    let server_busy = server_cpu_share.is_some_and(|share| share >= BUSY_CPU_SHARE);
    if behind > MOST_BEHIND {
        return Some(format!(
            "it ran {behind:.1?} behind its schedule on average"
        ));
    }
    let most_lag = MOST_LOOP_LAG.max(latency.mul_f64(MOST_LOOP_LAG_SHARE));
    if loop_lag > most_lag && !server_busy {
        return Some(format!("its loop came {loop_lag:.1?} late on average"));
    }
    let own = own_cpu_share.filter(|share| *share >= BUSY_CPU_SHARE && !server_busy)?;
    Some(format!("it used {:.0}% of its one processor", own * 100.0))
}

/// What of the stimulus was not achieved, one line each; none if all was.
#[must_use]
pub fn shortcomings(plan: &Plan, counters: &Counters) -> Vec<String> {
    let mut missing = Vec::new();
    if counters.greeted < plan.clients {
        missing.push(format!(
            "{} of {} clients were {}",
            counters.greeted,
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
    // A datagram may be lost, and is counted as such. A message over TCP may not.
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
    fn each_threshold_is_told() {
        let fine = Evidence {
            own_cpu_share: Some(0.5),
            server_cpu_share: Some(0.6),
            loop_lag: Duration::from_millis(1),
            behind: Duration::from_millis(1),
            latency: Duration::from_millis(50),
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
            let told = limited_by(&evidence).expect(words);
            assert!(told.contains(words), "{told}");
        }
        let slow_anyway = Evidence {
            loop_lag: Duration::from_millis(6),
            latency: Duration::from_millis(61),
            ..fine
        };
        assert_eq!(limited_by(&slow_anyway), None);
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
            greeted: 1,
            answered_once: 1,
            sent: 5,
            answered: 5,
            ..Counters::default()
        };
        assert!(shortcomings(&plan(), &counters).is_empty());
        counters.lost[LossCause::WrongBytes] = 1;
        counters.unanswered = 1;
        counters.greeted = 0;
        let told = shortcomings(&plan(), &counters).join("; ");
        for words in ["0 of 1 clients", "wrong bytes", "1 messages were not"] {
            assert!(told.contains(words), "{told}");
        }
    }
}

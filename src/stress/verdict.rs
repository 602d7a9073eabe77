//! Whether the figures of a run can be trusted: was the server the bottleneck, and did the load
//! do what was asked for?
//!
//! **Owns** the thresholds. **Must never touch** a counter: it only reads them. **Invariant**: a
//! run limited by the load generator is never reported as a measurement of the server, and what only
//! an interrupt prevented is never reported as a fault.

use super::Shared;
use super::counters::{LossCause, Reached};
use super::plan::{Length, Transport};
use crate::protocol::greeting::Framing;
use crate::units::count;
use std::time::Duration;

/// At this share of one CPU a process with one thread counts as saturated. In whole percent, as it is
/// shown, so that the verdict agrees with the figures beside it.
pub(crate) const BUSY_CPU_PERCENT: f64 = 90.0;

/// The largest mean delay of the load generator itself that is always accepted, as event-loop lag or
/// behind the schedule: where the poll's timeout is a whole number of milliseconds and there is no
/// timer, that alone delays up to 1 ms.
pub(crate) const MAX_OWN_DELAY: Duration = Duration::from_millis(1);

/// A longer mean delay is accepted up to this share of the mean latency. The limit is the larger of
/// the two.
pub(crate) const MAX_OWN_DELAY_SHARE: f64 = 0.1;

/// The largest mean delay behind the schedule, however long the latency: beyond it, another load was
/// measured than the one asked for.
pub(crate) const MAX_BEHIND: Duration = Duration::from_millis(5);

/// A rate is missed below this share of what was asked for.
const MIN_RATE_SHARE: f64 = 0.99;

/// Replies that are outstanding at the end of the window are no missed rate if the schedule makes up
/// for them in this time: a pause of the machine in the last moment leaves as many. It is below 1% of
/// a run of 5 s.
const MAX_OUTSTANDING: Duration = Duration::from_millis(50);

/// The server's own default of `--max-datagram`: it answers no longer datagram.
const DEFAULT_MAX_DATAGRAM_BYTES: usize = 1_024;

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
    let most = MAX_OWN_DELAY.max(mean_latency.mul_f64(MAX_OWN_DELAY_SHARE));
    if behind > most.min(MAX_BEHIND) {
        return Some(format!(
            "it ran {behind:.1?} behind its schedule on average"
        ));
    }
    let percent = |share: f64| (share * 100.0).round();
    let server = server_cpu_share.map(percent);
    // A saturated server is the bottleneck, however busy the load generator is.
    if server.is_some_and(|percent| percent >= BUSY_CPU_PERCENT) {
        return None;
    }
    if loop_lag > most {
        return Some(format!("its mean event-loop lag was {loop_lag:.1?}"));
    }
    let own = own_cpu_share.map(percent)?;
    (own >= BUSY_CPU_PERCENT).then(|| {
        let server = server.map_or_else(String::new, |server| format!(", the server {server:.0}%"));
        format!("it used {own:.0}% of one CPU{server}")
    })
}

/// What the run measured, in one line; `limit` is from [`limited_by`].
#[must_use]
pub(crate) fn words(shared: &Shared, limit: Option<String>) -> String {
    let limited = limit.map(|why| format!("limited by this client: {why}"));
    let ended_early = if shared.interrupted {
        Some(ended_after(shared, "interrupted"))
    } else if is_cut_short(shared) {
        let ended = ended_after(shared, "ended");
        Some(format!("{ended}: every client was lost"))
    } else {
        None
    };
    if let Some(ended) = ended_early {
        return match limited {
            Some(limited) => format!("{ended}; {limited}"),
            None => ended,
        };
    }
    limited.unwrap_or_else(|| {
        let words = match () {
            () if shared.plan.active == 0 && shared.counters.open > 0 => "held idle clients",
            () if shared.counters.answered == 0 => "measured nothing",
            () => "measured the server",
        };
        words.to_owned()
    })
}

/// Whether the loss of the last client ended the run before it had measured what was asked for.
fn is_cut_short(shared: &Shared) -> bool {
    let Shared { plan, counters, .. } = shared;
    let is_short = match plan.length {
        Length::Time(length) => shared.window() < length,
        Length::Messages(messages) => counters.answered < messages,
    };
    is_short && counters.open == 0 && counters.all_lost() > 0 && counters.answered > 0
}

/// How much of the run was left when it ended early; `how` it did.
fn ended_after(shared: &Shared, how: &str) -> String {
    let seconds = |time: Duration| (time.as_secs_f64() * 10.0).round() / 10.0;
    let window = seconds(shared.window());
    match shared.plan.length {
        _ if shared.window().is_zero() => format!("{how} before anything was measured"),
        Length::Time(length) => format!("{how} after {window}s of {}s", seconds(length)),
        Length::Messages(messages) => format!(
            "{how} after {window}s and {} of {messages} messages",
            shared.counters.answered
        ),
    }
}

/// What the load did not do of what was asked for, one line each.
#[must_use]
pub(crate) fn shortcomings(shared: &Shared) -> Vec<String> {
    let Shared { plan, counters, .. } = shared;
    let mut missing = Vec::new();
    if counters.welcomed < plan.clients && !shared.interrupted {
        missing.push(format!(
            "only {} of {} clients were {}",
            counters.welcomed,
            plan.clients,
            match plan.transport {
                Transport::Tcp(_) => "connected and greeted",
                Transport::Udp => "opened",
            }
        ));
    }
    missing.extend(lost_clients(shared));
    if counters.missing_line_ending > 0 {
        missing.push(format!(
            "{} got the {} without a line ending: does the server use --framing chunk?",
            count(counters.missing_line_ending, "client", "clients"),
            // A server that ends the line of its welcome ends those of its replies.
            if counters.welcomed == 0 {
                "welcome"
            } else {
                "welcome or a reply"
            }
        ));
    }
    if counters.datagrams.wrong > 0 {
        let wrong = counters.datagrams.wrong;
        missing.push(count(wrong, "wrong datagram", "wrong datagrams"));
    }
    // UDP may lose a message, and the report counts it; TCP may not.
    if counters.unanswered > 0 && plan.transport != Transport::Udp {
        missing.push(format!(
            "{} not answered",
            count(counters.unanswered, "message was", "messages were")
        ));
    }
    if !shared.interrupted {
        missing.extend(unanswered_clients(shared));
        missing.extend(missed_rate(shared));
        missing.extend(never_sent(shared));
    }
    missing
}

/// The clients lost, by cause. Those that timed out say what they waited for.
fn lost_clients(shared: &Shared) -> Vec<String> {
    let counters = &shared.counters;
    let mut lines = Vec::new();
    for (cause, lost) in counters.lost {
        let mut unexplained = lost;
        if cause == LossCause::TimedOut {
            for (reached, lost) in counters.lost_at[cause] {
                unexplained -= lost;
                if lost > 0 {
                    let lost = count(lost, "client", "clients");
                    let waiting = waiting_for(reached);
                    let is_foreign =
                        reached == Reached::Connected && counters.missing_line_ending == 0;
                    let hint = if is_foreign {
                        " (is this a helloop server?)"
                    } else {
                        ""
                    };
                    lines.push(format!("{lost} lost: {} {waiting}{hint}", cause.name()));
                }
            }
        }
        if unexplained > 0 {
            let lost = count(unexplained, "client", "clients");
            lines.push(format!("{lost} lost: {}", cause.name()));
        }
    }
    lines
}

/// What a client that came so far waited for.
fn waiting_for(reached: Reached) -> &'static str {
    match reached {
        Reached::Nothing => "waiting for the connect",
        Reached::Connected => "waiting for the welcome",
        Reached::Welcomed => "waiting for a reply",
    }
}

/// Messages of the schedule that no client could send, and what to do.
fn never_sent(shared: &Shared) -> Option<String> {
    let Shared { plan, counters, .. } = shared;
    let not_sent = shared.not_sent();
    let clients = shared.active.len() as u32;
    if not_sent == 0 || clients == 0 {
        return None;
    }
    let why = if counters.lost_welcomed() >= clients {
        "every client was lost".to_owned()
    } else if counters.lost_welcomed() > 0 {
        "some clients were lost; the others were waiting for replies".to_owned()
    } else {
        let waiting = match clients {
            1 => "the only client was waiting for a reply".to_owned(),
            _ => format!("all {clients} clients were waiting for a reply"),
        };
        let or = match plan.transport {
            Transport::Tcp(Framing::Chunk) => " (or --framing line --pipeline)",
            Transport::Tcp(Framing::Line) => " (or a larger --pipeline)",
            Transport::Udp => "",
        };
        format!("{waiting}; use more clients{or}")
    };
    let messages = count(not_sent, "message was", "messages were");
    Some(format!("{messages} never sent: {why}"))
}

/// Clients without any answer, and a run without one. Clients that had no message to send need none.
fn unanswered_clients(shared: &Shared) -> Option<String> {
    let Shared { plan, counters, .. } = shared;
    if plan.active == 0 {
        None
    } else if plan.transport == Transport::Udp && counters.answered_once == 0 {
        let sent_bytes = shared.script.message.len();
        let hint = if sent_bytes > DEFAULT_MAX_DATAGRAM_BYTES {
            format!(
                ": a server drops datagrams of {sent_bytes} bytes unless its --max-datagram allows \
                 them (by default {DEFAULT_MAX_DATAGRAM_BYTES})"
            )
        } else {
            String::new()
        };
        Some(format!("nothing answers at {}{hint}", plan.to))
    } else if counters.answered_once < counters.sent_once {
        Some(format!(
            "{} of {} clients that sent were answered",
            counters.answered_once, counters.sent_once
        ))
    } else if counters.sent == 0 && shared.not_sent() > 0 {
        // The messages that were never sent have a line of their own.
        None
    } else if counters.sent == 0 && counters.all_lost() == 0 {
        Some("no message was due in the measured time".to_owned())
    } else if counters.answered == 0 {
        Some("no measured message was answered".to_owned())
    } else {
        None
    }
}

/// A requested rate that was not achieved. Over TCP replies are compared: the window contains replies
/// to messages of the warm-up, and cannot contain those to messages that were due so late that even
/// the fastest reply would have come after it. UDP may lose messages, so there sent messages are
/// compared.
fn missed_rate(shared: &Shared) -> Option<String> {
    let Shared { plan, counters, .. } = shared;
    let rate = plan.rate?.get();
    let seconds = shared.window().as_secs_f64();
    let fastest = counters.latency.min()?;
    let (what, achieved, expected) = match plan.transport {
        Transport::Tcp(_) => ("", counters.replies, shared.due_before_window(fastest)?),
        Transport::Udp => (
            "sent ",
            counters.sent,
            shared.due_before_window(Duration::ZERO)?,
        ),
    };
    let expected = expected as f64;
    let outstanding = expected - achieved as f64;
    let tolerated = MAX_OUTSTANDING.as_secs_f64() * rate as f64;
    let is_missed = outstanding > tolerated.max(expected * (1.0 - MIN_RATE_SHARE));
    (is_missed && seconds > 0.0)
        .then(|| format!("{what}{:.0}/s of {rate}/s", achieved as f64 / seconds))
}

#[cfg(test)]
mod tests {
    use super::super::counters::{Counters, LossCause};
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
                "lag was 6.0ms",
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
        let quick_server = Evidence {
            behind: Duration::from_micros(1_500),
            mean_latency: Duration::from_millis(2),
            ..fine
        };
        assert!(
            limited_by(&quick_server).is_some(),
            "most of the latency is its own"
        );
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

    /// A server shown at 90% is saturated, though it used a little less.
    #[test]
    fn the_verdict_compares_the_percentages_that_are_shown() {
        let evidence = |own, server| Evidence {
            own_cpu_share: Some(own),
            server_cpu_share: Some(server),
            ..Evidence::default()
        };
        assert_eq!(limited_by(&evidence(0.92, 0.896)), None);
        assert_eq!(limited_by(&evidence(0.894, 0.3)), None);
        for (own, server, words) in [
            (0.92, 0.894, "it used 92% of one CPU, the server 89%"),
            (0.896, 0.3, "it used 90% of one CPU, the server 30%"),
        ] {
            let limit = limited_by(&evidence(own, server));
            assert_eq!(limit.as_deref(), Some(words));
        }
    }

    #[test]
    fn fewer_clients_wrong_bytes_and_lost_clients_are_shortcomings() {
        let mut shared = Shared::new(plan());
        shared.counters = Counters {
            welcomed: 1,
            sent_once: 1,
            answered_once: 1,
            sent: 5,
            answered: 5,
            ..Counters::default()
        };
        assert!(shortcomings(&shared).is_empty());
        shared.counters.lost[LossCause::WrongBytes] = 1;
        shared.counters.unanswered = 1;
        shared.counters.welcomed = 0;
        let missing = shortcomings(&shared).join("; ");
        for words in ["0 of 1 clients", "wrong bytes", "1 message was not"] {
            assert!(missing.contains(words), "{missing}");
        }
    }
}

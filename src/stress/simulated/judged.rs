//! The verdict on datagrams, idle clients and schedules.

use super::{tcp, udp};
use crate::stress::plan::{Length, Plan};
use crate::stress::verdict;
use std::num::NonZeroU64;
use std::time::Duration;

const fn seconds(seconds: u64) -> Length {
    Length::Time(Duration::from_secs(seconds))
}

/// Datagrams follow the same rules.
#[test]
fn datagrams_in_flight_at_an_interrupt_are_not_lost() {
    for silent_from in [0, 100] {
        let plan = Plan {
            length: Length::Time(Duration::from_secs(20)),
            timeout: Duration::from_secs(1),
            ..udp::closed(3, 0)
        };
        let mut run = udp::start(plan, udp::ANSWER);
        for millisecond in 0..200 {
            run.step(millisecond >= silent_from);
        }
        run.shared.interrupted = true;
        run.finish(0..0);
        let shared = &run.shared;
        let counters = &shared.counters;
        assert_eq!(counters.left_in_flight, 3);
        assert_eq!((counters.unanswered, counters.datagrams.lost), (0, 0));
        assert_eq!(counters.sent, counters.answered + 3);
        assert_eq!(counters.latency.len(), counters.answered);
        assert!(verdict::shortcomings(shared).is_empty());
        assert_eq!(
            verdict::words(shared, None),
            "interrupted after 0.2s of 20s"
        );
    }
}

/// The run waits until its timeout; the rate is that of the replies.
#[test]
fn a_lost_last_datagram_does_not_extend_the_window() {
    let last_lost: udp::Script = |number| if number == 49 { &[] } else { &[0] };
    let mut run = udp::start(udp::closed(1, 50), last_lost);
    run.finish(0..0);
    let counters = &run.shared.counters;
    assert_eq!((counters.replies, counters.timed_out), (49, 1));
    assert_eq!(run.shared.window(), Duration::from_millis(50));
}

/// A schedule of fewer messages than clients leaves some clients without one.
#[test]
fn a_client_without_a_message_needs_no_answer() {
    for (rate, length) in [
        (40, seconds(1)),
        (0, Length::Messages(40)),
        (40, Length::Messages(40)),
    ] {
        let plan = Plan {
            rate: NonZeroU64::new(rate),
            length,
            ..tcp::lines(100, 1)
        };
        let mut run = tcp::start(plan, 1_000);
        run.finish(0..0);
        let counters = &run.shared.counters;
        assert_eq!((counters.sent_once, counters.answered_once), (40, 40));
        assert_eq!(verdict::shortcomings(&run.shared), [""; 0]);
    }
}

/// Idle clients are held for the time that was asked for.
#[test]
fn a_run_of_idle_clients_achieves_what_was_asked() {
    let plan = Plan {
        active: 0,
        length: seconds(2),
        ..tcp::lines(50, 1)
    };
    let mut run = tcp::start(plan, 1_000);
    run.finish(0..0);
    let shared = &run.shared;
    assert_eq!(shared.window(), Duration::from_secs(2));
    assert_eq!(verdict::shortcomings(shared), [""; 0]);
    assert_eq!(verdict::words(shared, None), "held idle clients");
    assert_eq!(shared.counters.open, 50);
}

/// What UDP does not send of a schedule is not achieved; what it loses is lost.
#[test]
fn a_missed_rate_of_datagrams_is_about_those_sent() {
    let plan = |rate| Plan {
        rate: NonZeroU64::new(rate),
        length: seconds(2),
        ..udp::closed(1, 0)
    };
    let lossy: udp::Script = |number| if number % 10 == 3 { &[] } else { &[0] };
    let mut run = udp::start(plan(100), lossy);
    run.finish(0..0);
    assert_eq!(verdict::shortcomings(&run.shared), [""; 0]);
    // At most 64 are in flight per client, and in the virtual network for a millisecond or more.
    let mut run = udp::start(plan(200_000), |number| if number == 0 { &[0] } else { &[] });
    run.finish(0..0);
    let missing = verdict::shortcomings(&run.shared);
    assert!(
        missing[0].starts_with("sent ") && missing[0].ends_with("/s of 200000/s"),
        "{missing:?}"
    );
}

/// Ten clients that wait 100 ms for each reply send a hundred messages a second of the five thousand
/// that are due. What they never send is neither unanswered nor a sample, and the verdict says what to
/// do. The run waits for its end no longer than the timeout.
#[test]
fn messages_that_no_client_can_send_are_counted_apart() {
    const TIMEOUT: Duration = Duration::from_secs(1);
    for warmup_ms in [0, 1_000] {
        let plan = Plan {
            rate: NonZeroU64::new(5_000),
            warmup: Duration::from_millis(warmup_ms),
            timeout: TIMEOUT,
            length: seconds(3),
            ..tcp::lines(10, 1)
        };
        let mut run = tcp::start(plan, 1_000);
        for (_, wire) in &run.wires {
            wire.borrow_mut().delay = Duration::from_millis(100);
        }
        run.finish(0..0);
        let shared = &run.shared;
        let counters = &shared.counters;
        assert_eq!(shared.due(), Some(15_000));
        assert_eq!(counters.sent + shared.not_sent(), 15_000);
        assert_eq!(counters.sent, counters.answered + counters.unanswered);
        assert_eq!(counters.latency.len(), counters.sent);
        match warmup_ms {
            // The messages of the warm-up alone take fifty seconds.
            1_000 => assert_eq!(counters.sent, 0),
            _ => {
                assert!((350..=420).contains(&counters.sent), "{}", counters.sent);
                // The last ones were sent seconds after they were due.
                assert!(counters.latency.max() > Some(3 * TIMEOUT));
                assert!(counters.latency.min() < Some(TIMEOUT));
            }
        }
        let missing = verdict::shortcomings(shared).join("; ");
        let expected = format!(
            "{} messages were never sent: all 10 clients were waiting for a reply; use more clients \
             (or a larger --pipeline)",
            shared.not_sent()
        );
        assert!(missing.contains(&expected), "{missing}");
        assert!(!missing.contains("was due"), "{missing}");
        let over = run.now.since(shared.measured_until);
        assert!(over <= TIMEOUT + Duration::from_millis(10), "{over:?}");
    }
}

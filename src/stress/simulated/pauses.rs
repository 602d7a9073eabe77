//! Pauses of the load generator are not taken for silence of the server (pitfall 20).

use super::{tcp, udp};
use crate::stress::Stage;
use crate::stress::plan::{Length, Plan};
use std::num::NonZeroU64;
use std::time::Duration;

/// The replies were there, and the load generator was not.
#[test]
fn a_pause_of_the_load_is_not_taken_for_silence_of_the_server() {
    const CLIENTS: u32 = 3_000;
    // With one message per client, the run is finishing once all are sent.
    for messages_per_client in [100, 1] {
        let messages = messages_per_client * u64::from(CLIENTS);
        let plan = Plan {
            length: Length::Messages(messages),
            ..tcp::lines(CLIENTS, 1)
        };
        let mut run = tcp::start(plan, 1_000);
        for _ in 0..50 {
            run.step(true);
        }
        assert_eq!(run.shared.counters.in_flight, u64::from(CLIENTS));
        let is_finishing = matches!(run.shared.stage, Stage::Finishing(_));
        assert_eq!(is_finishing, messages_per_client == 1);
        run.pause(Duration::from_secs(60));
        run.finish(0..0);
        let counters = &run.shared.counters;
        assert_eq!(
            (counters.answered, counters.unanswered, counters.all_lost()),
            (messages, 0, 0)
        );
        // The lag is that of the second in which the loop paused, and of no other.
        let lags = counters.seconds.iter().map(|second| second.loop_lag.max);
        let (paused, others): (Vec<_>, Vec<_>) =
            lags.partition(|lag| *lag >= Duration::from_secs(50));
        assert_eq!(paused.len(), 1, "{paused:?}");
        assert!(others.iter().all(|lag| *lag < Duration::from_millis(100)));
    }
}

#[test]
fn a_reply_is_not_late_because_the_client_was() {
    let mut run = udp::start(udp::closed(3, 100), udp::ANSWER);
    for _ in 0..20 {
        run.step(false);
    }
    run.now = run.now.after(Duration::from_millis(150));
    run.finish(0..0);
    let counters = &run.shared.counters;
    assert_eq!(udp::fates(counters), (100, 0, 0, 0, 0));
}

/// So many clients that those of the last batch are driven before their events are reported.
#[test]
fn a_reply_is_not_late_because_its_event_is_in_a_later_batch() {
    const CLIENTS: u32 = 8_000;
    for rate in [None, NonZeroU64::new(1_000_000)] {
        let plan = Plan {
            rate,
            ..udp::closed(CLIENTS, 10 * u64::from(CLIENTS))
        };
        let mut run = udp::start(plan, udp::ANSWER);
        for _ in 0..50 {
            run.step(true);
        }
        assert_eq!(run.shared.counters.answered_once, 0);
        assert!(run.shared.counters.in_flight >= u64::from(CLIENTS));
        run.pause(Duration::from_millis(150));
        run.finish(0..0);
        let sent = run.shared.counters.sent;
        assert_eq!(udp::fates(&run.shared.counters), (sent, 0, 0, 0, 0));
    }
}

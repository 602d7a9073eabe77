//! What the line says in each stage and at each width.

use super::super::counters::{Reached, Second};
use super::super::plan::{Plan, tests::plan};
use super::*;
use crate::output::status::fit;
use crate::stress::counters::LossCause;

/// A run of a thousand clients: 1 s of warm-up, then 9 s.
fn shared() -> Shared {
    Shared::new(Plan {
        clients: 1_000,
        warmup: Duration::from_secs(1),
        length: Length::Time(Duration::from_secs(9)),
        ..plan()
    })
}

fn at(seconds: f64) -> Time {
    Time::ZERO.after(Duration::from_secs_f64(seconds))
}

/// The run in its measured part, which began after 3 s.
fn running() -> Shared {
    let mut shared = shared();
    shared.stage = Stage::Running;
    shared.measured_from = at(3.0);
    shared.measured_until = at(12.0);
    shared.counters.open = 1_000;
    shared.counters.seconds.push(Second {
        at: Duration::from_secs(5),
        length: Duration::from_secs(1),
        measured: true,
        replies: 118_561,
        p99: Some(Duration::from_micros(11_600)),
        connected: 1_000,
        ..Second::default()
    });
    shared
}

fn line(shared: &Shared, now: Time, columns: usize) -> String {
    fit(&run_parts(estimate(shared, now), shared, now), columns)
}

#[test]
fn a_narrow_line_leaves_out_what_matters_least() {
    let (mut shared, now) = (running(), at(6.5));
    for (columns, expected) in [
        (
            120,
            "running  [#########           ]  45%  6s elapsed  6s left  1000 clients  118561/s  \
             p99 11.6ms  0 lost",
        ),
        (
            80,
            "running  45%  6s elapsed  6s left  1000 clients  118561/s  p99 11.6ms  0 lost",
        ),
        (
            60,
            "running  45%  6s left  1000 clients  118561/s  p99 11.6ms",
        ),
        (40, "running  45%  6s left  118561/s"),
        (20, "running  45%"),
        (4, "45%"),
        (3, "45"),
    ] {
        assert_eq!(line(&shared, now, columns), expected, "{columns} columns");
    }
    for _ in 0..3 {
        shared.counters.started += 1;
        shared.counters.pending += 1;
        shared
            .counters
            .note_lost(LossCause::Refused, Reached::Nothing);
    }
    assert_eq!(line(&shared, now, 30), "running  45%  6s left  3 lost");
    assert_eq!(line(&shared, now, 21), "running  45%  3 lost");
}

#[test]
fn percent_and_remaining_time_come_from_the_plan() {
    let mut shared = shared();
    assert_eq!(
        line(&shared, Time::ZERO, 120),
        "connecting  [                    ]  0%  0s elapsed  0 of 1000 clients  0/s  0 lost"
    );
    shared.counters.started = 350;
    shared.counters.pending = 100;
    shared.counters.welcomed = 250;
    assert_eq!(
        line(&shared, at(1.0), 100),
        "connecting  [#####               ]  25%  1s elapsed  3s left  250 of 1000 clients  250/s  0 lost"
    );
    shared.counters.open = 1_000;
    // The warm-up is the first tenth.
    shared.stage = Stage::WarmingUp(at(3.0));
    for (now, expected) in [
        (2.0, "warming up  0%  10s left"),
        (2.5, "warming up  5%  10s left"),
        (3.2, "warming up  10%  9s left"),
    ] {
        assert_eq!(line(&shared, at(now), 25), expected);
    }
    let running = running();
    for (now, expected) in [
        (3.0, "running  10%  9s left"),
        (11.9, "running  99%  1s left"),
        // A late loop.
        (12.5, "running  100%  0s left"),
    ] {
        assert_eq!(line(&running, at(now), 25), expected);
    }
}

#[test]
fn a_run_by_messages_counts_those_answered() {
    let mut shared = running();
    shared.plan.length = Length::Messages(1_000);
    shared.measured_until = at(1e9);
    shared.counters.answered = 200;
    assert_eq!(line(&shared, at(5.0), 25), "running  20%  8s left");
    shared.counters.answered = 0;
    assert_eq!(line(&shared, at(5.0), 25), "running  0%  118561/s");
    shared.stage = Stage::WarmingUp(at(3.0));
    assert_eq!(line(&shared, at(2.0), 20), "warming up  0%");
    shared.stage = Stage::Finishing(at(9.0));
    shared.counters.in_flight = 7;
    assert_eq!(line(&shared, at(6.0), 40), "finishing  100%  7 in flight");
}

#[test]
fn lost_datagrams_are_losses_too() {
    let mut shared = running();
    shared.plan.transport = Transport::Udp;
    shared.counters.datagrams.lost = 1;
    assert_eq!(
        line(&shared, at(6.5), 40),
        "running  45%  6s left  1 datagram lost"
    );
}

#[test]
fn several_runs_are_one_whole() {
    let shared = running();
    let second = Position {
        name: "reactor",
        run: 2,
        of: 4,
    };
    // The first run took 20 s; the second one has 4 s to go, after 6 s.
    let (before, elapsed) = (Duration::from_secs(20), Duration::from_secs(26));
    let estimate = whole(second, before, elapsed, &shared, at(8.0));
    assert_eq!(estimate.left, Some(Duration::from_secs(4 + 2 * 20)));
    let done = estimate.done.expect("known");
    assert!((done - 26.0 / 70.0).abs() < 1e-9, "{done}");
    // Nothing is known of earlier runs yet: the plan is.
    let first = Position { run: 1, ..second };
    let estimate = whole(
        first,
        Duration::ZERO,
        Duration::from_secs(8),
        &shared,
        at(8.0),
    );
    assert_eq!(estimate.left, Some(Duration::from_secs(4 + 3 * 10)));
}

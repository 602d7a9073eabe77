//! However a run ends, its figures are true: the rate is what the server sent within the window, and
//! each message is answered, unanswered or in flight.

use super::tcp;
use crate::reactor::Time;
use crate::stress::plan::{Length, Plan};
use crate::stress::{Shared, Stage, verdict};
use std::num::NonZeroU64;
use std::time::Duration;

const CLIENTS: u32 = 10;

/// What ends the run, if not the plan.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Event {
    None,
    /// The user interrupts it in this millisecond.
    Interrupt(u64),
    /// The server is killed in this millisecond, and resets its connections.
    Kill(u64),
    /// The server says nothing from this millisecond on.
    Silence(u64),
}

/// How a run of ten clients ends. A client and the server exchange one message per millisecond, in
/// addition to the delay.
#[derive(Clone, Copy, Debug)]
struct Case {
    name: &'static str,
    length: Length,
    warmup_ms: u64,
    rate: u64,
    delay_ms: u64,
    event: Event,
    /// The window, the rate and the messages: answered, unanswered, timed out, in flight.
    window_ms: u64,
    per_second: u64,
    messages: [u64; 4],
    /// What the verdict says, and the shortcomings.
    words: &'static str,
    shortcomings: &'static [&'static str],
}

const CASE: Case = Case {
    name: "",
    length: Length::Time(Duration::from_secs(2)),
    warmup_ms: 0,
    rate: 0,
    delay_ms: 0,
    event: Event::None,
    window_ms: 2_000,
    per_second: 10_000,
    messages: [20_000, 0, 0, 0],
    words: "measured the server",
    shortcomings: &[],
};

const fn seconds(seconds: u64) -> Length {
    Length::Time(Duration::from_secs(seconds))
}

const ENDS: [Case; 20] = [
    Case {
        name: "the time is up",
        ..CASE
    },
    Case {
        name: "the time is up, after a warm-up",
        warmup_ms: 500,
        ..CASE
    },
    Case {
        name: "all messages are answered",
        length: Length::Messages(5_000),
        window_ms: 500,
        messages: [5_000, 0, 0, 0],
        ..CASE
    },
    Case {
        name: "the server is killed after 1 s of 20",
        length: seconds(20),
        event: Event::Kill(1_000),
        window_ms: 1_000,
        messages: [9_990, 10, 0, 0],
        words: "ended after 1s of 20s: every client was lost",
        shortcomings: &["10 clients lost: reset", "10 messages were not answered"],
        ..CASE
    },
    Case {
        name: "the server is killed before all messages are sent",
        length: Length::Messages(100_000),
        event: Event::Kill(1_000),
        window_ms: 1_000,
        messages: [9_990, 10, 0, 0],
        words: "ended after 1s and 9990 of 100000 messages: every client was lost",
        shortcomings: &["10 clients lost: reset", "10 messages were not answered"],
        ..CASE
    },
    Case {
        name: "the user interrupts it after 1 s of 20",
        length: seconds(20),
        event: Event::Interrupt(1_000),
        window_ms: 1_000,
        messages: [9_990, 0, 0, 10],
        words: "interrupted after 1s of 20s",
        ..CASE
    },
    Case {
        name: "the user interrupts it before all messages are sent",
        length: Length::Messages(100_000),
        event: Event::Interrupt(1_200),
        window_ms: 1_200,
        messages: [11_990, 0, 0, 10],
        words: "interrupted after 1.2s and 11990 of 100000 messages",
        ..CASE
    },
    Case {
        name: "the user interrupts it before the first reply",
        delay_ms: 300,
        event: Event::Interrupt(100),
        window_ms: 100,
        per_second: 0,
        messages: [0, 0, 0, 10],
        words: "interrupted after 0.1s of 2s",
        ..CASE
    },
    Case {
        name: "the user interrupts the warm-up",
        warmup_ms: 500,
        event: Event::Interrupt(300),
        window_ms: 0,
        per_second: 0,
        messages: [0; 4],
        words: "interrupted before anything was measured",
        ..CASE
    },
    Case {
        name: "the user interrupts the wait for the last replies",
        warmup_ms: 1_000,
        delay_ms: 1_299,
        event: Event::Interrupt(3_500),
        per_second: 10,
        messages: [10, 0, 0, 10],
        words: "interrupted after 2s of 2s",
        ..CASE
    },
    Case {
        name: "replies after the window are samples, and not rate",
        length: seconds(5),
        delay_ms: 999,
        window_ms: 5_000,
        per_second: 8,
        messages: [50, 0, 0, 0],
        ..CASE
    },
    Case {
        name: "replies to the warm-up within the window are rate, and not samples",
        length: seconds(5),
        warmup_ms: 990,
        delay_ms: 999,
        window_ms: 5_000,
        per_second: 10,
        messages: [50, 0, 0, 0],
        ..CASE
    },
    Case {
        name: "replies of the warm-up that arrive as it ends are within the window",
        length: seconds(5),
        warmup_ms: 1_000,
        delay_ms: 999,
        window_ms: 5_000,
        per_second: 10,
        messages: [50, 0, 0, 0],
        ..CASE
    },
    Case {
        name: "the server falls silent, and the clients give up",
        length: seconds(20),
        event: Event::Silence(1_000),
        window_ms: 1_500,
        per_second: 6_660,
        messages: [9_990, 10, 10, 0],
        words: "ended after 1.5s of 20s: every client was lost",
        shortcomings: &[
            "10 clients lost: timed out waiting for a reply",
            "10 messages were not answered",
        ],
        ..CASE
    },
    Case {
        name: "the server falls silent during a schedule",
        rate: 1_000,
        event: Event::Silence(1_000),
        window_ms: 1_510,
        per_second: 661,
        messages: [999, 10, 10, 0],
        words: "ended after 1.5s of 2s: every client was lost",
        shortcomings: &[
            "10 clients lost: timed out waiting for a reply",
            "10 messages were not answered",
            "662/s of 1000/s",
            "500 messages were never sent: every client was lost",
        ],
        ..CASE
    },
    Case {
        name: "a schedule is kept",
        rate: 1_000,
        per_second: 1_000,
        messages: [2_000, 0, 0, 0],
        ..CASE
    },
    Case {
        name: "a schedule is kept by a server whose first reply takes a second",
        length: seconds(5),
        rate: 5,
        delay_ms: 999,
        window_ms: 5_000,
        per_second: 4,
        messages: [25, 0, 0, 0],
        ..CASE
    },
    Case {
        name: "a schedule is missed",
        rate: 10_500,
        per_second: 10_000,
        messages: [21_000, 0, 0, 0],
        shortcomings: &["9990/s of 10500/s"],
        ..CASE
    },
    Case {
        name: "the user interrupts a schedule that is missed",
        rate: 20_000,
        event: Event::Interrupt(1_000),
        window_ms: 1_000,
        messages: [9_990, 0, 0, 10],
        words: "interrupted after 1s of 2s",
        ..CASE
    },
    Case {
        name: "the server is killed during a schedule",
        rate: 1_000,
        event: Event::Kill(1_000),
        window_ms: 1_001,
        per_second: 1_000,
        messages: [1_000, 3, 0, 0],
        words: "ended after 1s of 2s: every client was lost",
        shortcomings: &["10 clients lost: reset", "3 messages were not answered"],
        ..CASE
    },
];

impl Case {
    fn plan(&self) -> Plan {
        Plan {
            length: self.length,
            warmup: Duration::from_millis(self.warmup_ms),
            rate: NonZeroU64::new(self.rate),
            timeout: Duration::from_millis(match self.event {
                Event::Silence(_) => 500,
                _ => 5_000,
            }),
            ..tcp::lines(CLIENTS, 1)
        }
    }

    /// Runs to the end; returns the state and when the server sent its replies.
    fn run(&self) -> (Shared, Vec<Time>) {
        let mut run = tcp::start(self.plan(), 1_000);
        for (_, wire) in &run.wires {
            let mut wire = wire.borrow_mut();
            wire.delay = Duration::from_millis(self.delay_ms);
            wire.sent.reserve(50_000);
        }
        let mut millisecond = 0;
        while run.shared.stage != Stage::Over {
            // Counted from when the clients begin to send.
            match self.event {
                Event::Interrupt(at) if millisecond >= at => run.shared.interrupted = true,
                Event::Kill(at) if millisecond == at => {
                    for (_, wire) in &run.wires {
                        wire.borrow_mut().killed = true;
                    }
                }
                _ => {}
            }
            run.step(matches!(self.event, Event::Silence(at) if millisecond >= at));
            millisecond += u64::from(run.shared.stage != Stage::Connecting);
            assert!(millisecond < 60_000, "{}: it does not end", self.name);
        }
        run.close_all();
        let wires = run.wires.iter();
        let sent = wires.flat_map(|(_, wire)| wire.borrow().sent.clone());
        let sent = sent.collect();
        (run.shared, sent)
    }
}

/// A reply is received in the millisecond after it was sent.
fn received_in_window(sent: &[Time], shared: &Shared) -> u64 {
    let received = sent.iter().map(|sent| sent.after(Duration::from_millis(1)));
    let window = shared.measured_from..shared.window_until;
    received.filter(|at| window.contains(at)).count() as u64
}

#[test]
fn the_figures_are_true_however_a_run_ends() {
    for case in ENDS {
        let name = case.name;
        let (shared, sent) = case.run();
        let counters = &shared.counters;
        let window_ms = shared.window().as_millis() as u64;
        assert!(
            window_ms.abs_diff(case.window_ms) <= 2,
            "{name}: {window_ms} ms"
        );
        // The independent count of the server.
        let replies = received_in_window(&sent, &shared);
        assert!(
            counters.replies.abs_diff(replies) <= 10,
            "{name}: {counters:#?} {replies}"
        );
        let per_second = counters.replies * 1_000 / window_ms.max(1);
        assert!(
            per_second.abs_diff(case.per_second) <= case.per_second / 100,
            "{name}: {per_second}/s"
        );
        let messages = [
            counters.answered,
            counters.unanswered,
            counters.timed_out,
            counters.left_in_flight,
        ];
        for (found, expected) in messages.iter().zip(case.messages) {
            // One exchange of each client more or less: the ends of a window are not in step.
            assert!(
                *found == expected || expected > 100 && found.abs_diff(expected) <= 20,
                "{name}: {messages:?}"
            );
        }
        assert_samples(&shared, &case);
        if shared.interrupted
            && let Some(due) = shared.due_before_window(Duration::ZERO)
        {
            let ended = counters.answered + counters.left_in_flight;
            assert_eq!(due, ended + shared.not_sent(), "{name}");
        }
        // The listed seconds are those of the window.
        let measured = counters.seconds.iter().filter(|second| second.measured);
        let listed: Duration = measured.map(|second| second.length).sum();
        let unlisted = listed.abs_diff(shared.window());
        assert!(unlisted <= Duration::from_millis(100), "{name}: {listed:?}");
        assert_eq!(verdict::words(&shared, None), case.words, "{name}");
        assert_eq!(verdict::shortcomings(&shared), case.shortcomings, "{name}");
        assert_eq!((counters.in_flight, name), (0, name));
    }
}

/// The samples are the messages that were answered or timed out, or waited to be sent meanwhile. None is shorter than a reply takes,
/// and what timed out is at least the timeout.
fn assert_samples(shared: &Shared, case: &Case) {
    let Case { name, .. } = case;
    let counters = &shared.counters;
    let stalled = match case.event {
        Event::Silence(_) => shared.not_sent(),
        _ => 0,
    };
    let latency = &counters.latency;
    assert_eq!(
        latency.len(),
        counters.answered + counters.timed_out + stalled,
        "{name}"
    );
    let delay = Duration::from_millis(case.delay_ms);
    assert!(latency.min().is_none_or(|min| min >= delay), "{name}");
    if counters.timed_out > 0 {
        let timeout = case.plan().timeout;
        assert!(latency.max() >= Some(timeout), "{name}");
        let beyond = latency.count_between(timeout, Duration::from_secs(100));
        assert_eq!(beyond, counters.timed_out + stalled, "{name}");
    }
}

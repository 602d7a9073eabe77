//! What leads a run from its first connect to its end.
//!
//! **Owns** the stages, the schedules and the ticks. **Must never touch** a client's stream: it
//! starts clients, and says whom to wake. **Invariant**: stages follow one another in their
//! order, and each of them ends, whatever the server does.
//!
//! It is a source without a socket: its deadline is what wakes the loop in time, and the
//! program's own loop calls it between turns, when nobody else is at work.

use super::caller::Caller;
use super::connect;
use super::counters::{LossCause, Reached, Second};
use super::pace::{Pace, Schedule};
use super::plan::{Length, Transport};
use super::udp_caller::Datagrams;
use super::{Shared, Stage};
use crate::reactor::{Births, Context, Readiness, Time, Verdict};
use mio::net::{TcpStream, UdpSocket};
use std::io;
use std::time::Duration;

/// Clients that are connecting, or connected and not yet welcomed, at once. Under the backlog of
/// 128 that mio's and std's listeners have: a longer queue is cut, and whoever was cut off it
/// tries again only a second later.
pub const CONNECTS_AT_ONCE: u32 = 100;

/// How often the loop's lag is measured and the progress shown: often enough for a person, and
/// fifty samples a second for the verdict.
pub const TICK: Duration = Duration::from_millis(20);

/// How long a line of the run's record is.
const SECOND: Duration = Duration::from_secs(1);

/// The shortest last line: the rate of less is chance. Its replies count everywhere else.
const SHORTEST_RECORD: Duration = Duration::from_millis(100);

/// The conductor of one run.
#[derive(Debug)]
pub struct Conductor {
    /// When the next tick is due.
    tick: Time,
    /// When the present second began.
    second: Time,
    connects: Option<Pace>,
    /// Messages of the schedule that were handed out.
    handed_out: u64,
}

impl Conductor {
    /// A conductor who begins at `now`.
    #[must_use]
    pub fn new(shared: &Shared, now: Time) -> Self {
        Self {
            tick: now.after(TICK),
            second: now,
            connects: shared.plan.connect_rate.map(|rate| Pace::new(now, rate)),
            handed_out: 0,
        }
    }

    /// Moves the run on, as far as it can be now.
    pub fn conduct<S>(&mut self, cx: &mut Context<'_, Shared>, births: &mut Births<S>) -> Verdict
    where
        S: From<Caller<TcpStream>> + From<Datagrams<UdpSocket>>,
    {
        let now = cx.clock_now();
        self.count_ticks(now, cx.shared);
        if now.since(self.second) >= SECOND {
            self.end_second(now, cx.shared);
        }
        let stage = cx.shared.stage;
        match stage {
            Stage::Connecting => self.connect(now, cx, births),
            Stage::WarmingUp if now >= cx.shared.warm_at => start_measuring(now, cx.shared),
            Stage::Running if is_through(now, cx.shared) => {
                cx.shared.stage = Stage::Finishing;
                cx.shared.finish_by = now.after(cx.shared.plan.timeout);
            }
            Stage::Finishing if is_settled(now, cx.shared) => self.end(now, cx.shared),
            Stage::WarmingUp | Stage::Running | Stage::Finishing | Stage::Over => {}
        }
        if cx.shared.stage != Stage::Connecting && cx.shared.counters.open == 0 {
            self.end(now, cx.shared);
        }
        if cx.shared.stage == Stage::Running && stage != Stage::Running {
            // The record's seconds are the measured part's from here on.
            self.end_second(now, cx.shared);
        }
        self.hand_out(now, cx.shared);
        let next = self.next_call(cx.shared);
        cx.set_deadline(next.since(cx.turn_start));
        Verdict::Park
    }

    /// Closes the record: the run is over.
    pub fn end(&mut self, now: Time, shared: &mut Shared) {
        if shared.stage != Stage::Over {
            shared.stage = Stage::Over;
            self.end_second(now, shared);
        }
    }

    /// The loop's lag: how late it comes to each tick, those that it missed included.
    fn count_ticks(&mut self, now: Time, shared: &mut Shared) {
        if now < self.tick {
            return;
        }
        let late = now.since(self.tick);
        let missed = u32::try_from(late.as_nanos() / TICK.as_nanos()).unwrap_or(u32::MAX);
        let newest = late.saturating_sub(TICK * missed);
        if shared.stage == Stage::Running {
            shared.counters.loop_lag.note(late, newest, missed + 1);
        }
        self.tick = now.after(TICK.saturating_sub(newest));
    }

    /// Starts further clients, or, once all are settled, the talking.
    fn connect<S>(&self, now: Time, cx: &mut Context<'_, Shared>, births: &mut Births<S>)
    where
        S: From<Caller<TcpStream>> + From<Datagrams<UdpSocket>>,
    {
        let due = self.connects.map_or(u64::MAX, |pace| pace.due_count(now));
        for _ in 0..CONNECTS_AT_ONCE {
            let counters = &mut cx.shared.counters;
            if counters.lost[LossCause::TimedOut as usize] >= CONNECTS_AT_ONCE {
                // Whoever does not answer a hundred will not answer the rest: the run ends
                // within the time of one hundred.
                let rest = cx.shared.plan.clients - counters.launched;
                counters.lost[LossCause::NotTried as usize] += rest;
                counters.launched += rest;
            }
            if counters.launched >= cx.shared.plan.clients
                || counters.pending >= CONNECTS_AT_ONCE
                || u64::from(counters.launched) >= due
            {
                break;
            }
            launch(now, cx, births);
        }
        if cx.shared.counters.launched == cx.shared.plan.clients && cx.shared.counters.pending == 0
        {
            start_talking(now, cx.shared);
        }
    }

    /// Wakes those whose messages have come due.
    fn hand_out(&mut self, now: Time, shared: &mut Shared) {
        let Some(schedule) = shared.schedule else {
            return;
        };
        let due = schedule.pace.due_count(now).min(schedule.end);
        if due <= self.handed_out {
            return;
        }
        let [oldest, newest] =
            [self.handed_out, due - 1].map(|number| schedule.pace.due_time(number));
        if shared.is_measured(oldest) {
            let count = u32::try_from(due - self.handed_out).unwrap_or(u32::MAX);
            let behind = &mut shared.counters.behind;
            behind.note(now.since(oldest), now.since(newest), count);
        }
        // Nobody needs to be woken twice.
        let seats = u64::from(schedule.seats);
        for number in self.handed_out.max(due.saturating_sub(seats))..due {
            shared.wake.push(shared.talkers[(number % seats) as usize]);
        }
        self.handed_out = due;
    }

    /// When something is to be done at the latest.
    fn next_call(&self, shared: &Shared) -> Time {
        let next_message = shared
            .schedule
            .filter(|schedule| self.handed_out < schedule.end);
        let next_connect = self.connects.filter(|_| shared.stage == Stage::Connecting);
        [
            Some(self.tick),
            next_message.map(|schedule| schedule.pace.due_time(self.handed_out)),
            next_connect
                .filter(|_| shared.counters.pending < CONNECTS_AT_ONCE)
                .map(|pace| pace.due_time(shared.counters.launched.into())),
            (shared.stage == Stage::WarmingUp).then_some(shared.warm_at),
            (shared.stage == Stage::Running).then_some(shared.measured_until),
            (shared.stage == Stage::Finishing).then_some(shared.finish_by),
        ]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(self.tick)
    }

    fn end_second(&mut self, now: Time, shared: &mut Shared) {
        let counters = &mut shared.counters;
        let length = now.since(self.second);
        if length >= SHORTEST_RECORD {
            counters.seconds.push(Second {
                at: now.since(shared.began),
                length,
                measured: self.second >= shared.measured_from,
                replies: counters.recent.len(),
                p99: counters.recent.quantile(0.99),
                connected: counters.open,
            });
        }
        counters.recent.clear();
        self.second = now;
    }
}

/// Starts one client.
fn launch<S>(now: Time, cx: &mut Context<'_, Shared>, births: &mut Births<S>)
where
    S: From<Caller<TcpStream>> + From<Datagrams<UdpSocket>>,
{
    let shared = &mut *cx.shared;
    let (to, source) = (
        shared.plan.to,
        shared.plan.sources.address_for(shared.counters.launched),
    );
    shared.counters.note_launched();
    let opened: io::Result<()> = match shared.plan.transport {
        Transport::Tcp(_) => connect::start_tcp(to, source).map(|stream| {
            // Hopeful: on loopback a connect is through by the next turn.
            births.push(S::from(Caller::new(stream, now)), Readiness::WRITABLE);
        }),
        Transport::Udp => connect::open_udp(to, source).map(|socket| {
            births.push(S::from(Datagrams::new(socket)), Readiness::WRITABLE);
        }),
    };
    if let Err(error) = opened {
        cx.shared.note_error(&error);
        let cause = LossCause::from(&error);
        cx.shared.counters.note_lost(cause, Reached::Nothing);
    }
}

/// Everybody is connected who will be: those who talk begin.
fn start_talking(now: Time, shared: &mut Shared) {
    shared.stage = Stage::WarmingUp;
    shared.warm_at = now.after(shared.plan.warmup);
    shared.wake.extend_from_slice(&shared.talkers);
    let seats = shared.talkers.len() as u32;
    if let Some(rate) = shared.plan.rate.filter(|_| seats > 0) {
        let pace = Pace::new(now, rate);
        let end = match shared.plan.length {
            Length::Time(length) => pace.count_before(shared.warm_at.after(length)),
            Length::Messages(messages) => pace.count_before(shared.warm_at) + messages,
        };
        shared.measured_from = shared.warm_at;
        shared.schedule = Some(Schedule { pace, seats, end });
    }
    if shared.plan.warmup.is_zero() {
        start_measuring(now, shared);
    }
}

/// What begins from here on counts.
fn start_measuring(now: Time, shared: &mut Shared) {
    shared.stage = Stage::Running;
    shared.traffic_before = shared.counters.traffic;
    match (&shared.schedule, shared.plan.length) {
        (Some(schedule), _) => shared.measured_until = schedule.pace.due_time(schedule.end),
        (None, length) => {
            shared.measured_from = now;
            match length {
                Length::Time(length) => shared.measured_until = now.after(length),
                Length::Messages(messages) => shared.left = messages,
            }
        }
    }
}

/// Whether no further message is to begin.
fn is_through(now: Time, shared: &Shared) -> bool {
    now >= shared.measured_until || shared.left == 0
}

/// Whether nothing is awaited any more, or for too long.
fn is_settled(now: Time, shared: &Shared) -> bool {
    shared.counters.in_flight == 0 || now >= shared.finish_by
}

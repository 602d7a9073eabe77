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
use super::datagrams::Datagrams;
use super::pace::{Pace, Schedule};
use super::plan::{Length, Transport};
use super::tally::{Cause, Reached, Second};
use super::{Stage, World};
use crate::reactor::{Context, Readiness, Source, Time, Verdict};
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
    pub fn new(world: &World, now: Time) -> Self {
        Self {
            tick: now.after(TICK),
            second: now,
            connects: world.plan.connect_rate.map(|rate| Pace::new(now, rate)),
            handed_out: 0,
        }
    }

    /// Moves the run on, as far as it can be now.
    pub fn conduct<S>(&mut self, cx: &mut Context<'_, S>) -> Verdict
    where
        S: Source<World = World> + From<Caller<TcpStream>> + From<Datagrams<UdpSocket>>,
    {
        let now = cx.time();
        self.count_ticks(now, cx.world);
        if now.since(self.second) >= SECOND {
            self.end_second(now, cx.world);
        }
        let stage = cx.world.stage;
        match stage {
            Stage::Connecting => self.connect(now, cx),
            Stage::WarmingUp if now >= cx.world.warm_at => start_measuring(now, cx.world),
            Stage::Running if is_through(now, cx.world) => {
                cx.world.stage = Stage::Finishing;
                cx.world.finish_by = now.after(cx.world.plan.timeout);
            }
            Stage::Finishing if is_settled(now, cx.world) => self.end(now, cx.world),
            Stage::WarmingUp | Stage::Running | Stage::Finishing | Stage::Over => {}
        }
        if cx.world.stage != Stage::Connecting && cx.world.tally.open == 0 {
            self.end(now, cx.world);
        }
        if cx.world.stage == Stage::Running && stage != Stage::Running {
            // The record's seconds are the measured part's from here on.
            self.end_second(now, cx.world);
        }
        self.hand_out(now, cx.world);
        let next = self.next_call(cx.world);
        cx.deadline(next.since(cx.now));
        Verdict::Park
    }

    /// Closes the record: the run is over.
    pub fn end(&mut self, now: Time, world: &mut World) {
        if world.stage != Stage::Over {
            world.stage = Stage::Over;
            self.end_second(now, world);
        }
    }

    /// The loop's lag: how late it comes to each tick, those that it missed included.
    fn count_ticks(&mut self, now: Time, world: &mut World) {
        if now < self.tick {
            return;
        }
        let late = now.since(self.tick);
        let missed = u32::try_from(late.as_nanos() / TICK.as_nanos()).unwrap_or(u32::MAX);
        let newest = late.saturating_sub(TICK * missed);
        if world.stage == Stage::Running {
            world.tally.loop_lag.note(late, newest, missed + 1);
        }
        self.tick = now.after(TICK.saturating_sub(newest));
    }

    /// Starts further clients, or, once all are settled, the talking.
    fn connect<S>(&self, now: Time, cx: &mut Context<'_, S>)
    where
        S: Source<World = World> + From<Caller<TcpStream>> + From<Datagrams<UdpSocket>>,
    {
        let due = self.connects.map_or(u64::MAX, |pace| pace.due_by(now));
        for _ in 0..CONNECTS_AT_ONCE {
            let tally = &mut cx.world.tally;
            if tally.lost[Cause::TimedOut as usize] >= CONNECTS_AT_ONCE {
                // Whoever does not answer a hundred will not answer the rest: the run ends
                // within the time of one hundred.
                let rest = cx.world.plan.clients - tally.launched;
                tally.lost[Cause::NotTried as usize] += rest;
                tally.launched += rest;
            }
            if tally.launched >= cx.world.plan.clients
                || tally.pending >= CONNECTS_AT_ONCE
                || u64::from(tally.launched) >= due
            {
                break;
            }
            launch(now, cx);
        }
        if cx.world.tally.launched == cx.world.plan.clients && cx.world.tally.pending == 0 {
            start_talking(now, cx.world);
        }
    }

    /// Wakes those whose messages have come due.
    fn hand_out(&mut self, now: Time, world: &mut World) {
        let Some(schedule) = world.schedule else {
            return;
        };
        let due = schedule.pace.due_by(now).min(schedule.end);
        if due <= self.handed_out {
            return;
        }
        let [oldest, newest] = [self.handed_out, due - 1].map(|number| schedule.pace.due(number));
        if world.is_measured(oldest) {
            let count = u32::try_from(due - self.handed_out).unwrap_or(u32::MAX);
            let behind = &mut world.tally.behind;
            behind.note(now.since(oldest), now.since(newest), count);
        }
        // Nobody needs to be woken twice.
        let seats = u64::from(schedule.seats);
        for number in self.handed_out.max(due.saturating_sub(seats))..due {
            world.wake.push(world.talkers[(number % seats) as usize]);
        }
        self.handed_out = due;
    }

    /// When something is to be done at the latest.
    fn next_call(&self, world: &World) -> Time {
        let next_message = world
            .schedule
            .filter(|schedule| self.handed_out < schedule.end);
        let next_connect = self.connects.filter(|_| world.stage == Stage::Connecting);
        [
            Some(self.tick),
            next_message.map(|schedule| schedule.pace.due(self.handed_out)),
            next_connect
                .filter(|_| world.tally.pending < CONNECTS_AT_ONCE)
                .map(|pace| pace.due(world.tally.launched.into())),
            (world.stage == Stage::WarmingUp).then_some(world.warm_at),
            (world.stage == Stage::Running).then_some(world.measured_until),
            (world.stage == Stage::Finishing).then_some(world.finish_by),
        ]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(self.tick)
    }

    fn end_second(&mut self, now: Time, world: &mut World) {
        let tally = &mut world.tally;
        let length = now.since(self.second);
        if length >= SHORTEST_RECORD {
            tally.seconds.push(Second {
                at: now.since(world.began),
                length,
                measured: self.second >= world.measured_from,
                replies: tally.recent.len(),
                p99: tally.recent.quantile(0.99),
                connected: tally.open,
            });
        }
        tally.recent.clear();
        self.second = now;
    }
}

/// Starts one client.
fn launch<S>(now: Time, cx: &mut Context<'_, S>)
where
    S: Source<World = World> + From<Caller<TcpStream>> + From<Datagrams<UdpSocket>>,
{
    let world = &mut *cx.world;
    let (to, source) = (world.plan.to, world.plan.sources.of(world.tally.launched));
    world.tally.note_launched();
    let opened: io::Result<()> = match world.plan.transport {
        Transport::Tcp(_) => connect::start_tcp(to, source).map(|stream| {
            // Hopeful: on loopback a connect is through by the next turn.
            cx.spawn(Readiness::WRITABLE, |_| S::from(Caller::new(stream, now)));
        }),
        Transport::Udp => connect::open_udp(to, source).map(|socket| {
            cx.spawn(Readiness::WRITABLE, |_| S::from(Datagrams::new(socket)));
        }),
    };
    if let Err(error) = opened {
        cx.world.note_error(&error);
        let cause = Cause::from(&error);
        cx.world.tally.note_lost(cause, Reached::Nothing);
    }
}

/// Everybody is connected who will be: those who talk begin.
fn start_talking(now: Time, world: &mut World) {
    world.stage = Stage::WarmingUp;
    world.warm_at = now.after(world.plan.warmup);
    world.wake.extend_from_slice(&world.talkers);
    let seats = world.talkers.len() as u32;
    if let Some(rate) = world.plan.rate.filter(|_| seats > 0) {
        let pace = Pace::new(now, rate);
        let end = match world.plan.length {
            Length::Time(length) => pace.before(world.warm_at.after(length)),
            Length::Messages(messages) => pace.before(world.warm_at) + messages,
        };
        world.measured_from = world.warm_at;
        world.schedule = Some(Schedule { pace, seats, end });
    }
    if world.plan.warmup.is_zero() {
        start_measuring(now, world);
    }
}

/// What begins from here on counts.
fn start_measuring(now: Time, world: &mut World) {
    world.stage = Stage::Running;
    world.traffic_before = world.tally.traffic;
    match (&world.schedule, world.plan.length) {
        (Some(schedule), _) => world.measured_until = schedule.pace.due(schedule.end),
        (None, length) => {
            world.measured_from = now;
            match length {
                Length::Time(length) => world.measured_until = now.after(length),
                Length::Messages(messages) => world.left = messages,
            }
        }
    }
}

/// Whether no further message is to begin.
fn is_through(now: Time, world: &World) -> bool {
    now >= world.measured_until || world.left == 0
}

/// Whether nothing is awaited any more, or for too long.
fn is_settled(now: Time, world: &World) -> bool {
    world.tally.in_flight == 0 || now >= world.finish_by
}

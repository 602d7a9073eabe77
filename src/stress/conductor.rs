//! Takes a run from its first connect to its end.
//!
//! **Owns** the order of the stages, the schedules and the ticks. **Must never touch** a client's
//! socket once it is open: it only starts and wakes clients. **Invariant**: the stages are in order,
//! and each of them ends, whatever the server does.
//!
//! The conductor is a source without a socket. Its deadline ends the loop's wait in time;
//! [`run`](super::run) calls it between turns.

use super::caller::Caller;
use super::connect;
use super::counters::{LossCause, Second};
use super::latency::Lateness;
use super::pace::{Pace, Schedule};
use super::plan::{Length, Transport};
use super::udp_caller::UdpCaller;
use super::{Shared, Stage};
use crate::net::system::PreciseTimer;
use crate::reactor::{Births, Context, Readiness, Time, Verdict};
use mio::Registry;
use mio::net::{TcpStream, UdpSocket};
use std::io;
use std::time::Duration;

/// Clients that may be pending at once: connecting, or connected and not yet welcomed. Below 128,
/// the accept backlog of mio's and std's listeners: if it overflows, SYNs are dropped and
/// retransmitted only a second later.
pub(crate) const CONNECTS_AT_ONCE: u32 = 100;

/// How often the event-loop lag is measured: fifty samples per second for the verdict. It is also
/// the longest that the loop waits before it checks for an interrupt.
pub(crate) const TICK_INTERVAL: Duration = Duration::from_millis(20);

/// The length of one [`Second`].
const SECOND_LENGTH: Duration = Duration::from_secs(1);

/// A shorter last [`Second`] is dropped: its rate would be noise. Its replies still count in all
/// other figures.
const MIN_SECOND_LENGTH: Duration = Duration::from_millis(100);

/// The conductor of one run.
#[derive(Debug)]
pub(crate) struct Conductor {
    /// When the next tick is due.
    tick: Time,
    /// When the current second began.
    second: Time,
    /// The schedule of the connects; `None`: as fast as clients are welcomed.
    connect_pace: Option<Pace>,
    /// Messages of the schedule that are due and whose clients have been woken.
    dispatched: u64,
    /// Ends the wait more precisely than its timeout, if there is one; and the time that it is set to.
    timer: Option<PreciseTimer>,
    timer_end: Time,
}

impl Conductor {
    /// The conductor of a run that begins at `now`.
    #[must_use]
    pub(crate) fn new(shared: &Shared, now: Time) -> Self {
        Self {
            tick: now.after(TICK_INTERVAL),
            second: now,
            connect_pace: shared.plan.connect_rate.map(|rate| Pace::new(now, rate)),
            dispatched: 0,
            timer: None,
            timer_end: Time::ZERO,
        }
    }

    /// The same with a timer, on a system that has one. Otherwise the poll's timeout may be a
    /// millisecond late, and so may each message of the open loop.
    #[must_use]
    pub(crate) fn with_timer(self) -> Self {
        Self {
            timer: PreciseTimer::new(),
            ..self
        }
    }

    /// Registers the timer.
    ///
    /// # Errors
    ///
    /// Those of the poll.
    pub(crate) fn register(&self, registry: &Registry, token: mio::Token) -> io::Result<()> {
        match &self.timer {
            Some(timer) => timer.register(registry, token),
            None => Ok(()),
        }
    }

    /// Moves the run on as far as possible at this time.
    pub(crate) fn conduct<S>(
        &mut self,
        cx: &mut Context<'_, Shared>,
        births: &mut Births<S>,
    ) -> Verdict
    where
        S: From<Caller<TcpStream>> + From<UdpCaller<UdpSocket>>,
    {
        // The timer is the only event, and this is the answer to it.
        cx.readiness.remove(Readiness::READABLE);
        let now = cx.clock_now();
        if cx.shared.interrupted {
            self.end(now, cx.shared);
            return Verdict::Park;
        }
        let late = self.measure_lag(now, cx.shared);
        if late >= TICK_INTERVAL {
            extend_finish(late, cx.shared);
        }
        if now.since(self.second) >= SECOND_LENGTH {
            self.end_second(now, cx.shared);
        }
        let stage = cx.shared.stage;
        match stage {
            Stage::Connecting => self.connect(now, cx, births),
            Stage::WarmingUp(until) if now >= until => start_measuring(now, cx.shared),
            Stage::Running if now >= cx.shared.measured_until || cx.shared.remaining == 0 => {
                self.finish(now, cx.shared);
            }
            Stage::Finishing(until) if now >= until || cx.shared.counters.in_flight == 0 => {
                self.end(now, cx.shared);
            }
            Stage::WarmingUp(_) | Stage::Running | Stage::Finishing(_) | Stage::Over => {}
        }
        if cx.shared.stage != Stage::Connecting && cx.shared.counters.open == 0 {
            self.end(now, cx.shared);
        }
        if cx.shared.stage == Stage::Running && stage != Stage::Running {
            // The seconds of the measured part start here.
            self.end_second(now, cx.shared);
        }
        self.wake_due_clients(now, cx);
        let next = self.next_deadline(cx.shared);
        cx.set_deadline(next.since(cx.turn_start));
        if let Some(timer) = self.timer.as_ref().filter(|_| next != self.timer_end) {
            timer.set(next.since(now));
            self.timer_end = next;
        }
        Verdict::Park
    }

    /// No more messages begin.
    fn finish(&mut self, now: Time, shared: &mut Shared) {
        shared.stage = Stage::Finishing(now.after(shared.plan.timeout));
        if matches!(shared.plan.length, Length::Time(_)) {
            // The last second of the measured window ends here.
            self.end_second(now, shared);
        }
    }

    /// Ends the run.
    fn end(&mut self, now: Time, shared: &mut Shared) {
        if shared.stage != Stage::Over {
            shared.end_window(now);
            shared.stage = Stage::Over;
            self.end_second(now, shared);
        }
    }

    /// Measures the event-loop lag: how late each tick is, including those that were missed. Returns
    /// how late the oldest is.
    fn measure_lag(&mut self, now: Time, shared: &mut Shared) -> Duration {
        if now < self.tick {
            return Duration::ZERO;
        }
        let late = now.since(self.tick);
        let missed = (late.as_nanos() / TICK_INTERVAL.as_nanos()) as u64;
        let newest = Duration::from_nanos((late.as_nanos() % TICK_INTERVAL.as_nanos()) as u64);
        let counters = &mut shared.counters;
        counters.loop_lag_this_second.note(late, newest, missed + 1);
        if shared.stage == Stage::Running {
            counters.loop_lag.note(late, newest, missed + 1);
        }
        self.tick = now.after(TICK_INTERVAL.saturating_sub(newest));
        late
    }

    /// Starts more clients; once all are welcomed or lost, starts the messages.
    fn connect<S>(&self, now: Time, cx: &mut Context<'_, Shared>, births: &mut Births<S>)
    where
        S: From<Caller<TcpStream>> + From<UdpCaller<UdpSocket>>,
    {
        let due = self
            .connect_pace
            .map_or(u64::MAX, |pace| pace.due_count(now));
        for _ in 0..CONNECTS_AT_ONCE {
            let counters = &mut cx.shared.counters;
            if counters.lost[LossCause::TimedOut] >= CONNECTS_AT_ONCE {
                // A server that lets a hundred clients time out will not answer the others
                // either: the run ends after one timeout instead of one per hundred clients.
                let rest = cx.shared.plan.clients - counters.started;
                counters.lost[LossCause::NotTried] += rest;
                counters.started += rest;
            }
            if counters.started >= cx.shared.plan.clients
                || counters.pending >= CONNECTS_AT_ONCE
                || u64::from(counters.started) >= due
            {
                break;
            }
            start_client(now, cx.shared, births);
        }
        let counters = &cx.shared.counters;
        if counters.started == cx.shared.plan.clients && counters.pending == 0 {
            start_messages(now, cx);
        }
    }

    /// Wakes the clients whose messages have become due.
    fn wake_due_clients(&mut self, now: Time, cx: &mut Context<'_, Shared>) {
        let Some(schedule) = cx.shared.schedule else {
            return;
        };
        let due = schedule.pace.due_count(now).min(schedule.end);
        if due <= self.dispatched {
            return;
        }
        let [oldest, newest] =
            [self.dispatched, due - 1].map(|number| schedule.pace.due_time(number));
        if cx.shared.is_measured(oldest) {
            let behind = &mut cx.shared.counters.behind;
            behind.note(now.since(oldest), now.since(newest), due - self.dispatched);
        }
        // A client with several messages due is woken once.
        let clients = u64::from(schedule.clients);
        for number in self.dispatched.max(due.saturating_sub(clients))..due {
            cx.wake(cx.shared.active[(number % clients) as usize]);
        }
        self.dispatched = due;
    }

    /// When the conductor must be called again.
    fn next_deadline(&self, shared: &Shared) -> Time {
        let next_message = shared
            .schedule
            .filter(|schedule| self.dispatched < schedule.end);
        let next_connect = self
            .connect_pace
            .filter(|_| shared.stage == Stage::Connecting);
        let stage_end = match shared.stage {
            Stage::WarmingUp(until) | Stage::Finishing(until) => Some(until),
            Stage::Running => Some(shared.measured_until),
            Stage::Connecting | Stage::Over => None,
        };
        [
            Some(self.tick),
            stage_end,
            next_message.map(|schedule| schedule.pace.due_time(self.dispatched)),
            next_connect
                .filter(|_| shared.counters.pending < CONNECTS_AT_ONCE)
                .map(|pace| pace.due_time(shared.counters.started.into())),
        ]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(self.tick)
    }

    fn end_second(&mut self, now: Time, shared: &mut Shared) {
        let measured = shared.is_in_window(self.second);
        let counters = &mut shared.counters;
        let length = now.since(self.second);
        if length >= MIN_SECOND_LENGTH {
            counters.seconds.push(Second {
                at: now.since(shared.began),
                length,
                measured,
                replies: counters.this_second.len(),
                p50: counters.this_second.quantile(0.5),
                p99: counters.this_second.quantile(0.99),
                p99_9: counters.this_second.quantile(0.999),
                connected: counters.open,
                loop_lag: counters.loop_lag_this_second,
                // Sampled between turns.
                server_cpu_share: None,
                load_cpu_share: None,
            });
        }
        counters.this_second.clear();
        counters.loop_lag_this_second = Lateness::default();
        self.second = now;
    }
}

/// A pause of the load generator is not taken from the time that the last replies have: they may
/// have arrived during it (pitfall 20). It ends nevertheless: each tick takes its own length.
fn extend_finish(pause: Duration, shared: &mut Shared) {
    if let Stage::Finishing(until) = &mut shared.stage {
        *until = until.after(pause);
    }
}

/// Starts one client.
fn start_client<S>(now: Time, shared: &mut Shared, births: &mut Births<S>)
where
    S: From<Caller<TcpStream>> + From<UdpCaller<UdpSocket>>,
{
    let to = shared.plan.to;
    let source = shared.plan.sources.address_for(shared.counters.started);
    shared.counters.note_started();
    // Marked writable as a guess: on loopback a connect is complete by the next turn.
    let opened = match shared.plan.transport {
        Transport::Tcp(_) => connect::start_tcp(to, source).map(|stream| {
            births.push(Caller::new(stream, now).into(), Readiness::WRITABLE);
        }),
        Transport::Udp => connect::open_udp(to, source).map(|socket| {
            births.push(UdpCaller::new(socket).into(), Readiness::WRITABLE);
        }),
    };
    if let Err(error) = opened {
        shared.note_not_opened(&error);
    }
}

/// All clients are welcomed or lost: the active ones begin to send.
fn start_messages(now: Time, cx: &mut Context<'_, Shared>) {
    for index in 0..cx.shared.active.len() {
        cx.wake(cx.shared.active[index]);
    }
    let shared = &mut *cx.shared;
    let warmup_end = now.after(shared.plan.warmup);
    shared.stage = Stage::WarmingUp(warmup_end);
    let clients = shared.active.len() as u32;
    if let Some(rate) = shared.plan.rate.filter(|_| clients > 0) {
        let pace = Pace::new(now, rate);
        let end = match shared.plan.length {
            Length::Time(length) => pace.count_before(warmup_end.after(length)),
            Length::Messages(messages) => pace.count_before(warmup_end).saturating_add(messages),
        };
        shared.measured_from = warmup_end;
        shared.schedule = Some(Schedule { pace, clients, end });
    }
    if let Length::Time(length) = shared.plan.length {
        // Before the warm-up is over: replies may come in the turn that ends it. Those of a server
        // that delays by the length of the warm-up all do.
        shared.measured_from = warmup_end;
        shared.measured_until = warmup_end.after(length);
        shared.window_until = shared.measured_until;
    }
    if shared.plan.warmup.is_zero() {
        start_measuring(now, shared);
    }
}

/// The warm-up is over.
fn start_measuring(now: Time, shared: &mut Shared) {
    shared.stage = Stage::Running;
    shared.traffic_before = shared.counters.traffic;
    match (shared.plan.length, shared.schedule) {
        (Length::Time(_), _) => {}
        (Length::Messages(_), Some(schedule)) => {
            shared.measured_until = schedule.pace.due_time(schedule.end);
        }
        (Length::Messages(messages), None) => {
            shared.measured_from = now;
            shared.remaining = messages;
        }
    }
}

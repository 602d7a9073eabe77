//! What the server shows of itself.
//!
//! **Owns** how its sources appear to observers, and what is done for observers between turns.
//! **Must never touch** a client. **Invariant**: a server without observers and without a
//! recording does none of it.

use super::sources::peer::{Peer, PeerState};
use super::stats::CloseCause;
use super::{RecordingFile, Server, ServerSource, Shared, metrics as server_metrics};
use crate::net::Net;
use crate::net::stream::Stream;
use crate::observe::excerpt::Excerpt;
use crate::observe::history::{Search, SlotInfo};
use crate::observe::observer::SNAPSHOT_PERIOD;
use crate::observe::requests::{MAX_OBSERVERS, OBSERVER_ACCEPTS_PER_TURN, Question};
use crate::observe::snapshot::{Cells, MAX_CELLS, Snapshot};
use crate::observe::{Observable, State, WorkCounters, metrics};
use crate::reactor::Verdict;
use log::debug;

/// Entries of the recording that are looked at between two turns for the histories of slots: they
/// take 30 µs, and a whole recording 40 turns.
const SEARCHED_ENTRIES_PER_TURN: usize = 8_192;

// Each question has a share.
const _: () = assert!(SEARCHED_ENTRIES_PER_TURN / MAX_OBSERVERS > 0);

/// Entries that are formatted between two turns for the page while it is paused: they take 0.4 ms,
/// and an excerpt 16 turns.
const FORMATTED_ENTRIES_PER_TURN: usize = 256;

const _: () = assert!(FORMATTED_ENTRIES_PER_TURN / MAX_OBSERVERS > 0);

/// What is to be observed, and how. By default nothing.
#[derive(Debug, Default)]
pub struct ObserveOptions {
    /// Where a recording is saved; `None`: nothing is recorded.
    pub recording: Option<RecordingFile>,
    /// How many turns are remembered.
    pub turns: usize,
    /// The blocking listener at which observers connect, if they may.
    pub listener: Option<std::net::TcpListener>,
    /// The names by which observers may address this server, in lower case.
    pub hosts: Vec<String>,
}

/// A client's state as observers see it.
pub(crate) fn state_of<T: Stream>(peer: &Peer<T>) -> State {
    match peer.state() {
        PeerState::Greeting | PeerState::Refusing(_) => State::Greeting,
        PeerState::Waiting | PeerState::Partial(_) => State::Waiting,
        PeerState::Ending(_) if !peer.has_pending() => State::Waiting,
        PeerState::Owed | PeerState::Ending(_) => State::Owed,
        PeerState::Held(_) => State::Held,
        PeerState::Lingering(_) => State::Lingering,
    }
}

/// The counters that a call of a source can move.
#[must_use]
pub(crate) fn work_counters(shared: &Shared) -> WorkCounters {
    let stats = &shared.stats;
    WorkCounters {
        accepted: stats.accepted,
        messages: stats.messages,
        reads: stats.traffic.reads,
        bytes_in: stats.traffic.bytes_in,
        writes: stats.traffic.writes,
        bytes_out: stats.traffic.bytes_out,
        datagrams: stats.datagrams,
        answered: stats.datagrams_answered,
        clients: stats.clients(),
        buffered: stats.buffered as u64,
        refused: stats.refused,
        reset: stats.closed[CloseCause::Reset],
        timed_out: stats.timed_out(),
    }
}

impl<N: Net> Observable for ServerSource<N> {
    fn state(&self) -> State {
        match self {
            Self::Peer(peer) => state_of(peer),
            Self::Listener(_) => State::Listener,
            Self::Datagrams(_) => State::Datagrams,
            Self::Signals(_) | Self::Stdin(_) => State::Signals,
            Self::ObserverListener(_) | Self::Observer(_) => State::Observer,
        }
    }

    fn counters(shared: &Shared) -> WorkCounters {
        work_counters(shared)
    }
}

impl<N: Net> Server<N> {
    /// Closes observers if a new one waits for a place: those without progress for the longest time
    /// (pitfall 24).
    fn make_room_for_observers(&mut self) {
        let Some(listener) = self.shared.observers.take_waiting_listener() else {
            return;
        };
        for _ in 0..OBSERVER_ACCEPTS_PER_TURN {
            let Some(token) = self.shared.observers.least_recent() else {
                break;
            };
            debug!("closing observer {token} to make room for another one");
            self.reactor
                .with_source(token, &mut self.shared, |source, cx, _| match source {
                    ServerSource::Observer(observer) => {
                        observer.make_room(&mut cx.part(|shared| &mut shared.observers))
                    }
                    _ => Verdict::Hold,
                });
        }
        self.reactor.wake(listener);
    }

    /// Answers what observers asked, and wakes them.
    pub(super) fn answer_observers(&mut self) {
        self.make_room_for_observers();
        let observers = &self.shared.observers;
        let recorder = self.reactor.recorder_mut();
        recorder.observers_worked(observers.worked);
        recorder.set_watched(observers.streams > 0);
        if !observers.is_asked() {
            self.searches.clear();
            self.excerpts.clear();
            return;
        }
        recorder.observers_answered();
        let questions = self.shared.observers.questions();
        // A search whose observer has left ends.
        self.searches
            .retain(|slot, _| questions.contains(&Question::History(*slot)));
        self.excerpts
            .retain(|number, _| questions.contains(&Question::Turns(*number)));
        for question in &questions {
            let body = match question {
                Question::Metrics => Some(self.metrics()),
                Question::Snapshot => Some(self.snapshot().event()),
                Question::History(slot) => self.history(*slot, questions.len()),
                Question::Turns(number) => self.excerpt(*number, questions.len()),
            };
            let Some(body) = body else {
                // The rest of the answer comes after the next turn, which must not wait.
                self.reactor.skip_next_wait();
                continue;
            };
            for token in self.shared.observers.answer_all(*question, body.into()) {
                self.reactor.wake(token);
            }
        }
    }

    fn metrics(&self) -> Vec<u8> {
        let (stats, now) = (self.reactor.stats(), self.reactor.now());
        let measures = self.reactor.recorder().measures();
        let mut families = server_metrics::families(&self.shared, &stats, measures, now);
        families.extend(metrics::process(self.started));
        metrics::render(&families).into_bytes()
    }

    fn snapshot(&self) -> Snapshot {
        let (slots, recorder) = (self.reactor.slots(), self.reactor.recorder());
        let mut cells = Cells::of(slots.len() as u32);
        for (token, source) in slots.take(MAX_CELLS as usize) {
            let is_active = recorder.was_active(token, SNAPSHOT_PERIOD);
            cells.push(token, source.map(ServerSource::state), is_active);
        }
        let counters = work_counters(&self.shared);
        let (now, stats) = (self.reactor.now(), self.reactor.stats());
        Snapshot::new(now, !self.shared.is_draining(), &counters, stats, cells)
            .with_recorder(recorder, self.shared.observers.observers)
    }

    /// The history of a slot, once the search for it is over. Each of the `questions` has an equal
    /// share of the entries that are looked at between two turns.
    fn history(&mut self, slot: u32, questions: usize) -> Option<Vec<u8>> {
        let recorder = self.reactor.recorder();
        let search = self.searches.entry(slot);
        let search = search.or_insert_with(|| Search::new(slot, recorder));
        let share = SEARCHED_ENTRIES_PER_TURN / questions;
        if !search.advance(recorder, share) {
            return None;
        }
        let found = self.reactor.slots().nth(slot as usize);
        let info = found.map(|(token, source)| SlotInfo {
            token,
            state: source.map(ServerSource::state),
            buffered: match source {
                Some(ServerSource::Peer(peer)) => peer.buffered(&self.shared.pending),
                _ => 0,
            },
        });
        Some(self.searches.remove(&slot)?.to_json(info))
    }

    /// What was recorded around an entry, once it is formatted. Each of the `questions` has an equal
    /// share of the entries that are formatted between two turns.
    fn excerpt(&mut self, number: u64, questions: usize) -> Option<Vec<u8>> {
        let recorder = self.reactor.recorder();
        let excerpt = self.excerpts.entry(number);
        let excerpt = excerpt.or_insert_with(|| Excerpt::around(number, recorder));
        if !excerpt.advance(recorder, FORMATTED_ENTRIES_PER_TURN / questions) {
            return None;
        }
        Some(self.excerpts.remove(&number)?.into_json())
    }

    /// Ends each live view with a last snapshot, which says that the server ends. A view whose socket
    /// does not take it at once sees only that the connection is closed.
    pub(super) fn end_streams(&mut self) {
        if self.shared.observers.streams == 0 {
            return;
        }
        let last = [b"event: end\n", &self.snapshot().event()[..]].concat();
        self.reactor
            .for_each(&mut self.shared, |source, cx| match source {
                ServerSource::Observer(observer) => {
                    observer.end_stream(&last, &mut cx.part(|shared| &mut shared.observers))
                }
                _ => Verdict::Hold,
            });
    }
}

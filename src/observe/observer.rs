//! One observer's connection: HTTP served by the loop that it observes.
//!
//! **Owns** one stream, the request being read and the answer being sent. **Must never touch**
//! another source: it asks through [`ObserverRequests`], and the program answers between turns.
//! **Invariant**: an observer costs the loop a bounded amount per turn, and keeps at most a request
//! head and one answer. One that does not read misses snapshots, and no source waits for it
//! (pitfall 7). Every state that waits for the observer has a deadline (pitfall 24).

use super::answer::{self, Response, Route};
use super::http::{self, After, Method, Request, Status};
use super::requests::{MAX_STREAM_OBSERVERS, ObserverRequests, Question};
use crate::net::outbox::Outbox;
use crate::net::stream::{self, Received, Stream};
use crate::protocol::buffer::Buffer;
use crate::reactor::{Context, Readiness, Time, Verdict};
use std::io;
use std::time::Duration;

/// How long a request head may take, counted from the accept or from the end of the last answer.
/// Also the idle timeout of a connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an observer may go without reading any of an answer or of a stream: as long as its
/// request may take.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long remaining input is discarded after the last answer, so that no reset destroys that
/// answer on its way (pitfall 10).
const LINGER: Duration = Duration::from_secs(1);

/// The time between two snapshots of a stream: ten per second are as many as the eye can use. All
/// streams ask at the same multiples of it, so that one snapshot serves them all.
pub const SNAPSHOT_PERIOD: Duration = Duration::from_millis(100);

/// Bytes per read: a browser's whole request.
const READ_BYTES: usize = 2 * 1_024;

/// Requests answered, or reads made, per turn: few, because the loop exists for clients.
const STEPS_PER_TURN: usize = 4;

/// The state of the connection. It determines which deadline the observer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ObserverState {
    /// Accepted; no deadline yet.
    Accepted,
    /// A request is being read. Deadline: [`HEAD_TIMEOUT`].
    Reading,
    /// The program was asked, for this request. No deadline: it answers between turns.
    Asking(Question, Method, After),
    /// An answer is being sent. Deadline: [`WRITE_TIMEOUT`].
    Sending(After),
    /// Snapshots are streamed; the socket last took something at this time. Deadline: that of the
    /// next snapshot.
    Streaming(Time),
    /// Everything is sent, FIN included. Deadline: [`LINGER`].
    Lingering,
}

/// What follows a step: another one, or the end of this call with a verdict.
type Next = Option<Verdict>;

/// One observer.
#[derive(Debug)]
pub struct Observer<T> {
    stream: T,
    state: ObserverState,
    /// Request bytes received, at most [`http::MAX_HEAD_BYTES`] and a read.
    input: Buffer,
    /// The unsent part of an answer.
    output: Outbox,
}

impl<T> Observer<T> {
    /// An observer that has just been accepted.
    pub fn new(stream: T, requests: &mut ObserverRequests) -> Self {
        requests.sources += 1;
        requests.observers += 1;
        Self {
            stream,
            state: ObserverState::Accepted,
            input: Buffer::default(),
            output: Outbox::default(),
        }
    }

    /// The stream, to register it.
    pub fn stream_mut(&mut self) -> &mut T {
        &mut self.stream
    }

    /// Stops counting this connection.
    pub fn leave(&mut self, requests: &mut ObserverRequests) {
        requests.sources -= 1;
        requests.observers -= 1;
        if let ObserverState::Streaming(_) = self.state {
            requests.streams -= 1;
        }
    }
}

impl<T: Stream> Observer<T> {
    /// Does what the socket's readiness allows.
    pub fn drive(&mut self, cx: &mut Context<'_, ObserverRequests>) -> Verdict {
        let verdict = self.work(cx).unwrap_or(Verdict::Close);
        self.note_close(verdict, cx)
    }

    /// The deadline has passed; the state says what that means.
    pub fn expire(&mut self, cx: &mut Context<'_, ObserverRequests>) -> Verdict {
        let verdict = match self.state {
            // An observer that has not read the last snapshot misses this one.
            ObserverState::Streaming(took) if !self.output.is_empty() => {
                cx.set_deadline(until_next_snapshot(cx.turn_start));
                if cx.turn_start.since(took) < WRITE_TIMEOUT {
                    Verdict::Hold
                } else {
                    Verdict::Close
                }
            }
            ObserverState::Streaming(_) => {
                cx.shared.ask(cx.token, Question::Snapshot);
                cx.set_deadline(until_next_snapshot(cx.turn_start));
                Verdict::Hold
            }
            ObserverState::Reading if !self.input.is_empty() => {
                self.refuse(Status::RequestTimeout, cx);
                self.work(cx).unwrap_or(Verdict::Close)
            }
            ObserverState::Asking(..) => Verdict::Hold,
            ObserverState::Accepted
            | ObserverState::Reading
            | ObserverState::Sending(_)
            | ObserverState::Lingering => Verdict::Close,
        };
        self.note_close(verdict, cx)
    }

    /// Closes the connection, to make room for a new one.
    pub fn make_room(&mut self, cx: &mut Context<'_, ObserverRequests>) -> Verdict {
        self.note_close(Verdict::Close, cx)
    }

    /// Ends a live view with `event`, if its socket takes it at once: the program ends and waits for
    /// no observer.
    pub fn end_stream(&mut self, event: &[u8], cx: &mut Context<'_, ObserverRequests>) -> Verdict {
        if let ObserverState::Streaming(_) = self.state {
            self.output.push(event);
            // The connection is closed in any case.
            let _ = self.flush(cx);
        }
        self.note_close(Verdict::Close, cx)
    }

    fn note_close(&mut self, verdict: Verdict, cx: &mut Context<'_, ObserverRequests>) -> Verdict {
        if verdict == Verdict::Close {
            cx.shared.forget(cx.token);
            self.leave(cx.shared);
        }
        verdict
    }

    /// Takes steps until none is possible now, or the budget is spent.
    fn work(&mut self, cx: &mut Context<'_, ObserverRequests>) -> io::Result<Verdict> {
        for _ in 0..STEPS_PER_TURN {
            self.flush(cx)?;
            let next = match self.state {
                ObserverState::Accepted => self.begin(cx),
                ObserverState::Reading => self.read_request(cx),
                ObserverState::Asking(question, method, after) => {
                    self.take_answer(question, method, after, cx)
                }
                ObserverState::Sending(after) => self.end_answer(after, cx),
                ObserverState::Streaming(_) => self.stream_on(cx)?,
                ObserverState::Lingering => self.discard(cx),
            };
            if let Some(verdict) = next {
                return Ok(verdict);
            }
        }
        Ok(Verdict::Again)
    }

    fn begin(&mut self, cx: &mut Context<'_, ObserverRequests>) -> Next {
        self.state = ObserverState::Reading;
        cx.set_deadline(HEAD_TIMEOUT);
        cx.shared.note_progress(cx.token);
        None
    }

    /// Answers a request that is complete, or reads more of it.
    fn read_request(&mut self, cx: &mut Context<'_, ObserverRequests>) -> Next {
        match http::parse(self.input.as_slice()) {
            Ok(Some(request)) => {
                self.input.consume(request.length);
                self.respond(&request, cx);
                return None;
            }
            Ok(None) => {}
            Err(status) => {
                self.refuse(status, cx);
                return None;
            }
        }
        let mut bytes = [0; READ_BYTES];
        match self.receive(&mut bytes, cx) {
            Received::Bytes(count) => {
                self.input.push(&bytes[..count]);
                None
            }
            Received::Blocked => Some(Verdict::Park),
            Received::Eof | Received::Failed(_) => Some(Verdict::Close),
        }
    }

    fn respond(&mut self, request: &Request, cx: &mut Context<'_, ObserverRequests>) {
        let Request { method, after, .. } = *request;
        cx.shared.note_progress(cx.token);
        match answer::route(request, !cx.shared.is_draining, &cx.shared.hosts) {
            Route::Respond(response) => self.answer(&response, method, after, cx),
            Route::Ask(question) => {
                self.state = ObserverState::Asking(question, method, after);
                cx.clear_deadline();
                cx.shared.ask(cx.token, question);
            }
            Route::Stream if cx.shared.streams >= MAX_STREAM_OBSERVERS => {
                self.refuse(Status::Unavailable, cx);
            }
            Route::Stream => {
                self.output.push(answer::stream_head().as_bytes());
                if method == Method::Head {
                    self.state = ObserverState::Sending(After::Close);
                    cx.set_deadline(WRITE_TIMEOUT);
                    return;
                }
                self.state = ObserverState::Streaming(cx.turn_start);
                cx.set_deadline(until_next_snapshot(cx.turn_start));
                cx.shared.streams += 1;
                cx.shared.keep(cx.token);
            }
        }
    }

    /// Sends the program's answer, once there is one.
    fn take_answer(
        &mut self,
        question: Question,
        method: Method,
        after: After,
        cx: &mut Context<'_, ObserverRequests>,
    ) -> Next {
        let Some(body) = cx.shared.take_answer(cx.token) else {
            return Some(Verdict::Hold);
        };
        self.answer(&Response::to(question, &body), method, after, cx);
        None
    }

    /// Answers with a status alone, and closes.
    fn refuse(&mut self, status: Status, cx: &mut Context<'_, ObserverRequests>) {
        self.answer(&Response::of(status), Method::Get, After::Close, cx);
    }

    fn answer(
        &mut self,
        response: &Response<'_>,
        method: Method,
        after: After,
        cx: &mut Context<'_, ObserverRequests>,
    ) {
        self.output.push(response.head(after).as_bytes());
        if method != Method::Head {
            self.output.push(response.body);
        }
        self.state = ObserverState::Sending(after);
        cx.set_deadline(WRITE_TIMEOUT);
    }

    /// Once the answer is sent: waits for the next request, or half-closes.
    fn end_answer(&mut self, after: After, cx: &mut Context<'_, ObserverRequests>) -> Next {
        if !self.output.is_empty() {
            return Some(Verdict::Hold);
        }
        match after {
            After::KeepAlive => {
                self.state = ObserverState::Reading;
                cx.set_deadline(HEAD_TIMEOUT);
            }
            After::Close => {
                if self.stream.shutdown_write().is_err() {
                    return Some(Verdict::Close);
                }
                self.state = ObserverState::Lingering;
                cx.set_deadline(LINGER);
            }
        }
        None
    }

    /// Sends the snapshot that has arrived. Input is discarded; EOF ends the stream, because an
    /// observer that is gone looks the same (a half-closed one can ask again).
    fn stream_on(&mut self, cx: &mut Context<'_, ObserverRequests>) -> io::Result<Next> {
        if let Some(body) = cx.shared.take_answer(cx.token) {
            self.output.push(&body);
            self.state = ObserverState::Streaming(cx.turn_start);
            self.flush(cx)?;
        }
        match self.receive(&mut [0; READ_BYTES], cx) {
            Received::Bytes(_) => Ok(None),
            Received::Blocked => Ok(Some(Verdict::Park)),
            Received::Eof => Ok(Some(Verdict::Close)),
            Received::Failed(error) => Err(error),
        }
    }

    fn discard(&mut self, cx: &mut Context<'_, ObserverRequests>) -> Next {
        match self.receive(&mut [0; READ_BYTES], cx) {
            Received::Bytes(_) => None,
            Received::Blocked => Some(Verdict::Park),
            Received::Eof | Received::Failed(_) => Some(Verdict::Close),
        }
    }

    /// Reads once, if the socket may be readable.
    fn receive(&mut self, bytes: &mut [u8], cx: &mut Context<'_, ObserverRequests>) -> Received {
        if !cx.readiness.contains(Readiness::READABLE) {
            return Received::Blocked;
        }
        let traffic = &mut cx.shared.traffic;
        let received = stream::receive(&mut self.stream, cx.readiness, bytes, traffic);
        if let Received::Bytes(count) = received {
            cx.charge(count);
        }
        received
    }

    fn flush(&mut self, cx: &mut Context<'_, ObserverRequests>) -> io::Result<()> {
        let traffic = &mut cx.shared.traffic;
        let sent = self.output.flush(&mut self.stream, cx.readiness, traffic)?;
        if sent == 0 {
            return Ok(());
        }
        cx.charge(sent);
        match &mut self.state {
            ObserverState::Sending(_) => {
                cx.set_deadline(WRITE_TIMEOUT);
                cx.shared.note_progress(cx.token);
            }
            ObserverState::Streaming(took) => *took = cx.turn_start,
            _ => {}
        }
        Ok(())
    }
}

/// The time until the next multiple of [`SNAPSHOT_PERIOD`].
fn until_next_snapshot(now: Time) -> Duration {
    let past = now.since(Time::ZERO).as_nanos() % SNAPSHOT_PERIOD.as_nanos();
    // Less than the period, so it fits.
    SNAPSHOT_PERIOD - Duration::from_nanos(past as u64)
}

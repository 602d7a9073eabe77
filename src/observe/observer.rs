//! One observer's connection: HTTP on the loop that it observes.
//!
//! **Owns** one stream, the request being read and the answer being sent. **Must never touch**
//! another source: what it wants to know it asks of the [`ObserverRequests`], and is
//! told between turns. **Invariant**: an observer costs the loop a bounded amount a turn, and
//! keeps at most a request's head and one answer: one that does not read misses snapshots, and
//! nobody waits for it (pitfall 7).

use super::answer::{self, Response};
use super::http::{self, After, Method, Request, Status};
use super::requests::{Host, ObserverRequests, Question};
use crate::net::stream::{self, Received, Stream};
use crate::protocol::buffer::Buffer;
use crate::reactor::{Context, Readiness, Source, Verdict};
use std::io;
use std::time::Duration;

/// How long a request's head may take, from the connection or the last answer on: the limit of
/// an idle connection too.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// How long an observer may take nothing of an answer: as patient as with its request.
const WRITE_TIME: Duration = Duration::from_secs(10);

/// How long the rest of the input is thrown away behind the last answer, lest a reset destroy
/// it on its way (pitfall 10).
const LINGER: Duration = Duration::from_secs(1);

/// Between two snapshots of a stream: ten a second are as many as an eye wants.
pub const SNAPSHOT_PERIOD: Duration = Duration::from_millis(100);

/// Bytes of one read: a browser's whole request.
const READ_BYTES: usize = 2 * 1_024;

/// Requests answered, or reads made, in one turn: few, for clients are what the loop is for.
const STEPS_PER_TURN: usize = 4;

/// Where the conversation is. The variant says which deadline the observer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ObserverState {
    /// Just born; no deadline yet.
    Accepted,
    /// A request is being read. Deadline: [`HEAD_TIME`].
    Reading,
    /// The program was asked, for this request. No deadline: it answers between turns.
    Asking(Question, Method, After),
    /// An answer is being sent. Deadline: [`WRITE_TIME`].
    Sending(After),
    /// Snapshots are streamed. Deadline: the next one's.
    Streaming,
    /// All is sent, our end of output included. Deadline: [`LINGER`].
    Lingering,
}

/// Which of the board's limits the connection counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// One of the observers.
    Observing,
    /// One too many.
    Refused,
}

/// One observer.
#[derive(Debug)]
pub struct Observer<T> {
    stream: T,
    phase: ObserverState,
    place: Place,
    /// EventKind has come of a request, at most [`http::MAX_HEAD_BYTES`] and a read.
    input: Buffer,
    /// EventKind is left of an answer.
    output: Buffer,
}

impl<T: Stream> Observer<T> {
    /// An observer, or one that is told that there are too many.
    pub fn new(stream: T, is_refused: bool, board: &mut ObserverRequests) -> Self {
        board.sources += 1;
        let place = if is_refused {
            board.refusing += 1;
            Place::Refused
        } else {
            board.observers += 1;
            Place::Observing
        };
        Self {
            stream,
            phase: ObserverState::Accepted,
            place,
            input: Buffer::default(),
            output: Buffer::default(),
        }
    }

    /// The stream, to register it.
    pub fn stream_mut(&mut self) -> &mut T {
        &mut self.stream
    }

    /// Does what the socket's readiness allows.
    pub fn drive<S: Source<Shared: Host>>(&mut self, cx: &mut Context<'_, S>) -> Verdict {
        let verdict = self.work(cx).unwrap_or(Verdict::Close);
        self.accounted(verdict, cx)
    }

    /// The deadline has passed: the phase says what that means.
    pub fn expire<S: Source<Shared: Host>>(&mut self, cx: &mut Context<'_, S>) -> Verdict {
        let verdict = match self.phase {
            ObserverState::Streaming => {
                // Whoever has not taken the last snapshot misses this one.
                if self.output.is_empty() {
                    cx.shared.board().ask(cx.token, Question::Snapshot);
                }
                cx.set_deadline(SNAPSHOT_PERIOD);
                Verdict::Park
            }
            ObserverState::Reading if !self.input.is_empty() => {
                self.answer(
                    &Response::of(Status::RequestTimeout),
                    Method::Get,
                    After::Close,
                    cx,
                );
                self.work(cx).unwrap_or(Verdict::Close)
            }
            ObserverState::Asking(..) => Verdict::Park,
            ObserverState::Accepted
            | ObserverState::Reading
            | ObserverState::Sending(_)
            | ObserverState::Lingering => Verdict::Close,
        };
        self.accounted(verdict, cx)
    }

    /// The connection is dropped before or after it was driven.
    pub fn leave(&mut self, board: &mut ObserverRequests) {
        board.sources -= 1;
        match self.place {
            Place::Observing => board.observers -= 1,
            Place::Refused => board.refusing -= 1,
        }
        if self.phase == ObserverState::Streaming {
            board.streams -= 1;
        }
    }

    fn accounted<S: Source<Shared: Host>>(
        &mut self,
        verdict: Verdict,
        cx: &mut Context<'_, S>,
    ) -> Verdict {
        if verdict == Verdict::Close {
            let board = cx.shared.board();
            board.forget(cx.token);
            self.leave(board);
        }
        verdict
    }

    /// Takes steps until nothing more can be done now, or the budget is spent.
    fn work<S: Source<Shared: Host>>(&mut self, cx: &mut Context<'_, S>) -> io::Result<Verdict> {
        for _ in 0..STEPS_PER_TURN {
            self.flush(cx)?;
            let verdict = match self.phase {
                ObserverState::Accepted => self.welcome(cx),
                ObserverState::Reading => self.read(cx)?,
                ObserverState::Asking(_, method, after) => self.hear(method, after, cx),
                ObserverState::Sending(after) => self.end_answer(after, cx),
                ObserverState::Streaming => self.stream_on(cx)?,
                ObserverState::Lingering => self.discard(cx)?,
            };
            if let Some(verdict) = verdict {
                return Ok(verdict);
            }
        }
        Ok(Verdict::Again)
    }

    fn welcome<S: Source<Shared: Host>>(&mut self, cx: &mut Context<'_, S>) -> Option<Verdict> {
        match self.place {
            Place::Observing => {
                self.phase = ObserverState::Reading;
                cx.set_deadline(HEAD_TIME);
            }
            Place::Refused => {
                let answer = Response::of(Status::Unavailable);
                self.answer(&answer, Method::Get, After::Close, cx);
            }
        }
        None
    }

    /// Reads, and answers a request that is complete. `None`: there is more to do.
    fn read<S: Source<Shared: Host>>(
        &mut self,
        cx: &mut Context<'_, S>,
    ) -> io::Result<Option<Verdict>> {
        match http::parse(self.input.as_slice()) {
            Ok(Some(request)) => {
                self.input.consume(request.length);
                self.respond(&request, cx);
                return Ok(None);
            }
            Ok(None) => {}
            Err(status) => {
                self.answer(&Response::of(status), Method::Get, After::Close, cx);
                return Ok(None);
            }
        }
        if !cx.readiness.contains(Readiness::READABLE) {
            return Ok(Some(Verdict::Park));
        }
        let mut bytes = [0; READ_BYTES];
        match self.receive(&mut bytes, cx)? {
            Some(0) => Ok(Some(Verdict::Close)),
            Some(count) => {
                self.input.push(&bytes[..count]);
                Ok(None)
            }
            None => Ok(None),
        }
    }

    fn respond<S: Source<Shared: Host>>(&mut self, request: &Request, cx: &mut Context<'_, S>) {
        let Request { method, after, .. } = *request;
        match answer::route(request, cx.shared.is_serving()) {
            answer::Route::Respond(answer) => self.answer(&answer, method, after, cx),
            answer::Route::Ask(question) => {
                self.phase = ObserverState::Asking(question, method, after);
                cx.clear_deadline();
                cx.shared.board().ask(cx.token, question);
            }
            answer::Route::Stream => {
                self.output.push(answer::stream_head().as_bytes());
                if method == Method::Head {
                    self.phase = ObserverState::Sending(After::Close);
                    cx.set_deadline(WRITE_TIME);
                    return;
                }
                self.phase = ObserverState::Streaming;
                cx.set_deadline(SNAPSHOT_PERIOD);
                let board = cx.shared.board();
                board.streams += 1;
                board.ask(cx.token, Question::Snapshot);
            }
        }
    }

    /// Whether the program has answered.
    fn hear<S: Source<Shared: Host>>(
        &mut self,
        method: Method,
        after: After,
        cx: &mut Context<'_, S>,
    ) -> Option<Verdict> {
        let ObserverState::Asking(question, ..) = self.phase else {
            return None;
        };
        let Some(body) = cx.shared.board().answer(cx.token) else {
            return Some(Verdict::Park);
        };
        self.answer(&Response::to(question, &body), method, after, cx);
        None
    }

    fn answer<S: Source<Shared: Host>>(
        &mut self,
        answer: &Response<'_>,
        method: Method,
        after: After,
        cx: &mut Context<'_, S>,
    ) {
        self.output.push(answer.head(after).as_bytes());
        if method != Method::Head {
            self.output.push(answer.body);
        }
        self.phase = ObserverState::Sending(after);
        cx.set_deadline(WRITE_TIME);
    }

    /// Behind an answer that is sent: the next request, or the end.
    fn end_answer<S: Source<Shared: Host>>(
        &mut self,
        after: After,
        cx: &mut Context<'_, S>,
    ) -> Option<Verdict> {
        if !self.output.is_empty() {
            return Some(Verdict::Park);
        }
        match after {
            After::KeepAlive => {
                self.phase = ObserverState::Reading;
                cx.set_deadline(HEAD_TIME);
            }
            After::Close => {
                if self.stream.shutdown_write().is_err() {
                    return Some(Verdict::Close);
                }
                self.phase = ObserverState::Lingering;
                cx.set_deadline(LINGER);
            }
        }
        None
    }

    /// Sends the snapshot that has come. EventKind an observer says while it is streamed to means
    /// nothing; that it is gone, its reset tells.
    fn stream_on<S: Source<Shared: Host>>(
        &mut self,
        cx: &mut Context<'_, S>,
    ) -> io::Result<Option<Verdict>> {
        if let Some(body) = cx.shared.board().answer(cx.token) {
            self.output.push(&body);
            self.flush(cx)?;
        }
        if !cx.readiness.contains(Readiness::READABLE) {
            return Ok(Some(Verdict::Park));
        }
        self.receive(&mut [0; READ_BYTES], cx)?;
        Ok(None)
    }

    fn discard<S: Source<Shared: Host>>(
        &mut self,
        cx: &mut Context<'_, S>,
    ) -> io::Result<Option<Verdict>> {
        if !cx.readiness.contains(Readiness::READABLE) {
            return Ok(Some(Verdict::Park));
        }
        let ended = self.receive(&mut [0; READ_BYTES], cx)? == Some(0);
        Ok(ended.then_some(Verdict::Close))
    }

    /// Reads once: so many bytes, 0 at the end of input, `None` if there is nothing.
    fn receive<S: Source<Shared: Host>>(
        &mut self,
        bytes: &mut [u8],
        cx: &mut Context<'_, S>,
    ) -> io::Result<Option<usize>> {
        let traffic = &mut cx.shared.board().traffic;
        match stream::receive(&mut self.stream, &mut cx.readiness, bytes, traffic) {
            Received::Bytes(count) => Ok(Some(count)),
            Received::End => Ok(Some(0)),
            Received::Blocked => Ok(None),
            Received::Failed(error) => Err(error),
        }
    }

    fn flush<S: Source<Shared: Host>>(&mut self, cx: &mut Context<'_, S>) -> io::Result<()> {
        if self.output.is_empty() || !cx.readiness.contains(Readiness::WRITABLE) {
            return Ok(());
        }
        let traffic = &mut cx.shared.board().traffic;
        let bytes = self.output.as_slice();
        let sent = stream::send(&mut self.stream, &mut cx.readiness, bytes, traffic)?;
        self.output.consume(sent);
        if sent > 0 && matches!(self.phase, ObserverState::Sending(_)) {
            cx.set_deadline(WRITE_TIME);
        }
        Ok(())
    }
}

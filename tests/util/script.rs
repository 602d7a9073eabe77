//! Scripted sockets: a stream, and in `unconnected` a listener and a UDP socket, whose calls return
//! what a test decides.
//!
//! **Owns** what each call returns, and which edges a poll would report. **Must never touch** a
//! real socket. **Invariant**: an event is reported once, and only where a [`BackEnd`] would report
//! one.

#![allow(dead_code, unused_imports, unreachable_pub)] // each test crate uses only a part

use helloop::net::stream::Stream;
use helloop::net::{Descriptor, Net};
use helloop::reactor::{Mark, Readiness, Token};
use mio::{Interest, Registry, event};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;

/// Registers a scripted socket: there is no poll to ask. Only a stream keeps its token.
macro_rules! scripted_registration {
    ($($socket:ty: |$self:ident, $token:ident| $register:expr),+ $(,)?) => {
        $(impl event::Source for $socket {
            fn register(&mut $self, _: &Registry, $token: mio::Token, _: Interest) -> io::Result<()> {
                $register
            }

            fn reregister(&mut self, _: &Registry, _: mio::Token, _: Interest) -> io::Result<()> {
                panic!("a socket is registered once");
            }

            fn deregister(&mut self, _: &Registry) -> io::Result<()> {
                Ok(())
            }
        })+
    };
}

#[path = "unconnected.rs"]
mod unconnected;

pub use unconnected::{AcceptQueue, ScriptedListener, ScriptedUdpSocket, UdpScript};

/// How the system numbers the errors that a script returns.
#[cfg(windows)]
#[path = "errno_windows.rs"]
mod errno;
#[cfg(windows)]
pub use errno::Errno;
#[cfg(unix)]
pub use nix::errno::Errno;

/// A network of scripted sockets.
#[derive(Debug)]
pub enum ScriptedNet {}

impl Net for ScriptedNet {
    type Listener = ScriptedListener;
    type Stream = ScriptedStream;
    type UdpSocket = ScriptedUdpSocket;
}

/// When the poll reports an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackEnd {
    /// epoll and kqueue: bytes or EOF arrived, or there is room again in a send buffer that a write
    /// found full.
    #[default]
    EveryEdge,
    /// mio's back end on poll(2): the socket is ready, and since the last event for that direction
    /// some call has returned `WouldBlock`. Such a call arms both directions.
    AfterWouldBlock,
}

/// The directions that mio's back end on poll(2) has reported since a call last returned
/// `WouldBlock`. It does not report them again before the next such call.
#[derive(Debug, Default)]
pub struct Disarmed(Readiness);

impl Disarmed {
    /// The event of a socket that is ready for `ready`; empty if there is none.
    pub fn take_event(&mut self, ready: Readiness) -> Readiness {
        let event = ready & !self.0;
        self.0 |= event;
        event
    }

    /// A call would block: both directions are armed again.
    fn would_block<T>(&mut self) -> io::Result<T> {
        self.0 = Readiness::empty();
        Err(ErrorKind::WouldBlock.into())
    }
}

/// A fault of a scripted call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// The connection is reset, and stays so.
    Reset,
    /// `EINTR`: a signal arrived.
    Interrupted,
    /// One byte is transferred: a read stops at an urgent mark, a write at a full buffer.
    Short,
    /// `WouldBlock` despite the readiness; the edge follows.
    Blocked,
    /// A read returns EOF, a write takes nothing.
    Zero,
}

impl Fault {
    pub const ALL: [Self; 5] = [
        Self::Reset,
        Self::Interrupted,
        Self::Short,
        Self::Blocked,
        Self::Zero,
    ];
}

/// A call that can have a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Call {
    Read,
    Write,
    Shutdown,
}

/// The remote end of a scripted stream, as a test holds it.
pub type Remote = Rc<RefCell<Connection>>;

/// The connection of a scripted stream: both kernels, and the client.
#[derive(Debug, Default)]
pub struct Connection {
    /// The client's address; `None`: 127.0.0.1.
    pub address: Option<SocketAddr>,
    /// The token that the stream is registered under.
    pub token: Option<Token>,
    /// Bytes that have arrived and are unread.
    pub arrived: VecDeque<u8>,
    /// Whether the client's FIN has arrived after them.
    pub fin: bool,
    /// Whether a read has returned EOF before the server sent its FIN.
    pub eof_read: bool,
    /// Whether the connection is reset.
    pub reset: bool,
    /// What each read returned before the server sent its FIN: in chunk framing, the messages.
    pub reads: Vec<Vec<u8>>,
    /// What the server has written.
    pub written: Vec<u8>,
    /// Whether the server has sent its FIN.
    pub shut: bool,
    /// Whether the server has closed the socket.
    pub closed: bool,
    /// How many bytes the send buffer still takes.
    pub room: usize,
    /// Whether a write found the send buffer full: room then makes an edge.
    pub found_full: bool,
    /// Edges that are not reported yet.
    pub edge: Readiness,
    /// When the poll reports an event.
    pub back_end: BackEnd,
    /// The directions that [`BackEnd::AfterWouldBlock`] does not report now.
    pub disarmed: Disarmed,
    /// Whether the stream claims that a short read drains it, whatever its back end promises.
    pub overestimates_short_reads: bool,
    /// What the client sends at once whenever it is sent anything.
    pub answer: Option<&'static [u8]>,
    /// The faults of the next calls, in order; `None` is a call without a fault.
    pub faults: VecDeque<Option<Fault>>,
    /// Whether the poll cannot register the stream for lack of memory.
    pub fails_to_register: bool,
    /// The faults so far, with the call that had each.
    pub faults_seen: Vec<(Call, Fault)>,
    /// Calls of `read`, `write` and `shutdown` so far.
    pub calls: u64,
}

impl Connection {
    /// Bytes arrive, followed by FIN if `fin`.
    pub fn arrive(&mut self, bytes: &[u8], fin: bool) {
        assert!(!self.fin, "nothing arrives after FIN");
        self.arrived.extend(bytes);
        self.fin = fin;
        if !bytes.is_empty() {
            self.edge |= Readiness::READABLE;
        }
        if fin {
            self.edge |= Readiness::READABLE | Readiness::CLOSED;
        }
    }

    /// The client reads: the send buffer takes this many bytes more.
    pub fn make_room(&mut self, bytes: usize) {
        self.room += bytes;
        if self.found_full && self.room > 0 {
            self.found_full = false;
            self.edge |= Readiness::WRITABLE;
        }
    }

    /// The client resets the connection.
    pub fn reset_by_client(&mut self) {
        self.reset = true;
        self.edge |= Readiness::READABLE | Readiness::WRITABLE | Readiness::CLOSED;
    }

    /// The event that a poll would report now, if any.
    pub fn take_mark(&mut self) -> Option<Mark> {
        let token = self.token?;
        let event = match self.back_end {
            BackEnd::EveryEdge => std::mem::take(&mut self.edge),
            BackEnd::AfterWouldBlock => self.take_armed(),
        };
        (!event.is_empty()).then_some((token, event))
    }

    /// What is ready, of the directions that are armed.
    fn take_armed(&mut self) -> Readiness {
        let mut ready = Readiness::empty();
        if !self.arrived.is_empty() || self.fin || self.reset {
            ready |= Readiness::READABLE;
        }
        if self.room > 0 || self.reset {
            ready |= Readiness::WRITABLE;
        }
        let mut event = self.disarmed.take_event(ready);
        if event.contains(Readiness::READABLE) && (self.fin || self.reset) {
            event |= Readiness::CLOSED;
        }
        event
    }

    fn next_fault(&mut self, call: Call) -> Option<Fault> {
        self.calls += 1;
        let fault = self.faults.pop_front().flatten()?;
        self.faults_seen.push((call, fault));
        Some(fault)
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        assert!(!self.closed);
        let mut limit = buffer.len();
        match self.next_fault(Call::Read) {
            Some(Fault::Reset) => self.reset_by_client(),
            Some(Fault::Interrupted) => return Err(ErrorKind::Interrupted.into()),
            Some(Fault::Blocked) => {
                self.edge |= Readiness::READABLE;
                return self.disarmed.would_block();
            }
            // EOF, and unread input is lost.
            Some(Fault::Zero) => {
                self.arrived.clear();
                self.fin = true;
                self.edge |= Readiness::READABLE | Readiness::CLOSED;
            }
            Some(Fault::Short) => limit = 1,
            None => {}
        }
        if self.reset {
            return Err(ErrorKind::ConnectionReset.into());
        }
        if self.arrived.is_empty() {
            if !self.fin {
                return self.disarmed.would_block();
            }
            self.eof_read |= !self.shut;
            return Ok(0);
        }
        let count = limit.min(self.arrived.len());
        for (slot, byte) in buffer.iter_mut().zip(self.arrived.drain(..count)) {
            *slot = byte;
        }
        // After its FIN the server discards input.
        if !self.shut {
            self.reads.push(buffer[..count].to_vec());
        }
        Ok(count)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        assert!(!self.closed && !self.shut, "write after FIN");
        let mut limit = bytes.len();
        match self.next_fault(Call::Write) {
            Some(Fault::Reset) => self.reset_by_client(),
            Some(Fault::Interrupted) => return Err(ErrorKind::Interrupted.into()),
            Some(Fault::Blocked) => {
                self.edge |= Readiness::WRITABLE;
                return self.disarmed.would_block();
            }
            Some(Fault::Zero) => {
                self.reset = true;
                return Ok(0);
            }
            Some(Fault::Short) => limit = 1,
            None => {}
        }
        if self.reset {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let count = limit.min(self.room).min(bytes.len());
        if count == 0 {
            self.found_full = true;
            return self.disarmed.would_block();
        }
        self.room -= count;
        self.written.extend_from_slice(&bytes[..count]);
        if let Some(answer) = self.answer {
            self.arrive(answer, false);
        }
        Ok(count)
    }

    fn shutdown(&mut self) -> io::Result<()> {
        self.calls += 1;
        if self.faults.pop_front().flatten().is_some() {
            // It can fail in one way only: the connection is gone.
            self.faults_seen.push((Call::Shutdown, Fault::Reset));
            self.reset = true;
        }
        if self.reset {
            return Err(ErrorKind::NotConnected.into());
        }
        self.shut = true;
        Ok(())
    }
}

thread_local! {
    /// Which descriptors are open. As a kernel does, the lowest free one is used next.
    static OPEN: RefCell<Vec<bool>> = const { RefCell::new(Vec::new()) };
}

fn open_descriptor() -> usize {
    OPEN.with_borrow_mut(|open| {
        let free = open.iter().position(|is_open| !is_open);
        let descriptor = free.unwrap_or(open.len());
        open.resize(open.len().max(descriptor + 1), false);
        open[descriptor] = true;
        descriptor
    })
}

/// The server's end of a scripted connection.
#[derive(Debug)]
pub struct ScriptedStream(Remote, usize);

impl ScriptedStream {
    /// A stream whose send buffer takes `room` bytes, and its remote end.
    pub fn with_room(room: usize) -> (Self, Remote) {
        let remote = Remote::default();
        remote.borrow_mut().room = room;
        (Self(remote.clone(), open_descriptor()), remote)
    }

    /// A stream whose send buffer never fills, and its remote end.
    pub fn unlimited() -> (Self, Remote) {
        Self::with_room(usize::MAX / 2)
    }
}

impl Drop for ScriptedStream {
    fn drop(&mut self) {
        self.0.borrow_mut().closed = true;
        OPEN.with_borrow_mut(|open| open[self.1] = false);
    }
}

impl Read for ScriptedStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read(buffer)
    }
}

impl Write for ScriptedStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Descriptor for ScriptedStream {
    fn descriptor(&self) -> usize {
        self.1
    }
}

impl Stream for ScriptedStream {
    fn short_read_drains(&self) -> bool {
        let connection = self.0.borrow();
        connection.back_end == BackEnd::EveryEdge || connection.overestimates_short_reads
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.0.borrow_mut().shutdown()
    }

    fn take_error(&self) -> io::Result<Option<io::Error>> {
        let is_reset = self.0.borrow().reset;
        Ok(is_reset.then(|| ErrorKind::ConnectionReset.into()))
    }
}

scripted_registration! {
    ScriptedStream: |self, token| {
        let mut connection = self.0.borrow_mut();
        if connection.fails_to_register {
            return Err(ErrorKind::OutOfMemory.into());
        }
        connection.token = Some(token.into());
        Ok(())
    },
}

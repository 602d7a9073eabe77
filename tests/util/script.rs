//! Scripted sockets: a stream, an acceptor and a kernel's edges, without a kernel.
//!
//! **Owns** what each call answers, and which edges a real poll would then owe. **Must never
//! touch** a real socket. **Invariant**: an edge is announced once, for what a kernel would
//! announce: bytes or an end that arrived, room in a send buffer that was found full.

#![allow(dead_code, unreachable_pub)] // each test program uses its part

use helloop::net::stream::Stream;
use helloop::reactor::{Mark, Readiness, Token};
use mio::{Interest, Registry, event};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::rc::Rc;

/// What a scripted call does instead of its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// The connection is reset; it stays so.
    Reset,
    /// A signal came first.
    Interrupted,
    /// A read stops short as at an urgent mark, a write as at a full buffer: one byte.
    Short,
    /// It would block, against the readiness; the edge comes later.
    Blocked,
    /// A read finds the end of input, a write takes nothing.
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

/// Which call a fault met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Call {
    Read,
    Write,
    Shutdown,
}

/// The far end of a scripted stream, and the kernel between.
#[derive(Debug, Default)]
pub struct Wire {
    /// Under which name the stream is registered.
    pub token: Option<Token>,
    /// Bytes that have arrived and were not read.
    pub arrived: VecDeque<u8>,
    /// Whether the client's end of input has arrived behind them.
    pub fin: bool,
    /// Whether a read before our own end has found it.
    pub end_read: bool,
    /// Whether the connection is broken.
    pub reset: bool,
    /// What each read before our own end returned: the messages, in chunk framing.
    pub reads: Vec<Vec<u8>>,
    /// What was written.
    pub written: Vec<u8>,
    /// Whether our end of output was sent.
    pub shut: bool,
    /// Whether the stream was dropped: `close(2)`.
    pub closed: bool,
    /// Bytes that the send buffer takes before it is full.
    pub room: usize,
    /// A write found it full, so an edge is owed once there is room.
    pub found_full: bool,
    /// Edges not announced yet.
    pub edge: Readiness,
    /// What the next calls do instead, the soonest first; `None` lets a call through.
    pub faults: VecDeque<Option<Fault>>,
    /// Whether the poll has no memory for it.
    pub unregistrable: bool,
    /// The faults that were met.
    pub met: Vec<(Call, Fault)>,
    /// Calls of `read` and `write` so far.
    pub calls: u64,
}

impl Wire {
    /// Bytes arrive, and with them the end of input if `fin`.
    pub fn arrive(&mut self, bytes: &[u8], fin: bool) {
        assert!(!self.fin, "nothing comes behind the end");
        self.arrived.extend(bytes);
        self.fin = fin;
        if !bytes.is_empty() {
            self.edge |= Readiness::READABLE;
        }
        if fin {
            self.edge |= Readiness::READABLE | Readiness::CLOSED;
        }
    }

    /// The client takes what was sent: there is room for so many bytes more.
    pub fn make_room(&mut self, bytes: usize) {
        self.room += bytes;
        if self.found_full && self.room > 0 {
            self.found_full = false;
            self.edge |= Readiness::WRITABLE;
        }
    }

    /// The connection breaks.
    pub fn break_off(&mut self) {
        self.reset = true;
        self.edge |= Readiness::READABLE | Readiness::WRITABLE | Readiness::CLOSED;
    }

    /// The edge that a poll would announce now, if any.
    pub fn take_mark(&mut self) -> Option<Mark> {
        let token = self.token?;
        if self.edge.is_empty() {
            return None;
        }
        Some((token, std::mem::take(&mut self.edge)))
    }

    fn next_fault(&mut self, call: Call) -> Option<Fault> {
        self.calls += 1;
        let fault = self.faults.pop_front().flatten()?;
        self.met.push((call, fault));
        Some(fault)
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        assert!(!self.closed);
        let fault = self.next_fault(Call::Read);
        match fault {
            Some(Fault::Reset) => self.break_off(),
            Some(Fault::Interrupted) => return Err(ErrorKind::Interrupted.into()),
            Some(Fault::Blocked) => {
                self.edge |= Readiness::READABLE;
                return Err(ErrorKind::WouldBlock.into());
            }
            // The client says no more, and what it sent is lost with it.
            Some(Fault::Zero) => {
                self.arrived.clear();
                self.fin = true;
                self.edge |= Readiness::READABLE | Readiness::CLOSED;
            }
            Some(Fault::Short) | None => {}
        }
        if self.reset {
            return Err(ErrorKind::ConnectionReset.into());
        }
        if self.arrived.is_empty() {
            return if self.fin {
                self.end_read |= !self.shut;
                Ok(0)
            } else {
                Err(ErrorKind::WouldBlock.into())
            };
        }
        let most = if fault == Some(Fault::Short) {
            1
        } else {
            buffer.len()
        };
        let count = most.min(self.arrived.len());
        for (place, byte) in buffer.iter_mut().zip(self.arrived.drain(..count)) {
            *place = byte;
        }
        // Behind our own end, what is read is thrown away.
        if !self.shut {
            self.reads.push(buffer[..count].to_vec());
        }
        Ok(count)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        assert!(!self.closed && !self.shut, "written behind our own end");
        let fault = self.next_fault(Call::Write);
        match fault {
            Some(Fault::Reset) => self.break_off(),
            Some(Fault::Interrupted) => return Err(ErrorKind::Interrupted.into()),
            Some(Fault::Blocked) => {
                self.edge |= Readiness::WRITABLE;
                return Err(ErrorKind::WouldBlock.into());
            }
            Some(Fault::Zero) => {
                self.reset = true;
                return Ok(0);
            }
            Some(Fault::Short) | None => {}
        }
        if self.reset {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let most = if fault == Some(Fault::Short) {
            1
        } else {
            bytes.len()
        };
        let count = most.min(self.room).min(bytes.len());
        if count == 0 {
            self.found_full = true;
            return Err(ErrorKind::WouldBlock.into());
        }
        self.room -= count;
        self.written.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn shutdown(&mut self) -> io::Result<()> {
        self.calls += 1;
        if self.faults.pop_front().flatten().is_some() {
            // It can fail in one way only: the connection is gone.
            self.met.push((Call::Shutdown, Fault::Reset));
            self.reset = true;
        }
        if self.reset {
            return Err(ErrorKind::NotConnected.into());
        }
        self.shut = true;
        Ok(())
    }
}

/// What a test holds of a scripted stream.
pub type FarEnd = Rc<RefCell<Wire>>;

/// The near end: what a peer gets as its stream.
#[derive(Debug)]
pub struct Scripted(FarEnd);

impl Scripted {
    /// A stream with so much room in its send buffer, and its far end.
    pub fn with_room(room: usize) -> (Self, FarEnd) {
        let wire = FarEnd::default();
        wire.borrow_mut().room = room;
        (Self(wire.clone()), wire)
    }

    /// A stream whose send buffer never fills, and its far end.
    pub fn roomy() -> (Self, FarEnd) {
        Self::with_room(usize::MAX / 2)
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.0.borrow_mut().closed = true;
    }
}

impl Read for Scripted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read(buffer)
    }
}

impl Write for Scripted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl event::Source for Scripted {
    fn register(&mut self, _: &Registry, token: mio::Token, _: Interest) -> io::Result<()> {
        let mut wire = self.0.borrow_mut();
        if wire.unregistrable {
            return Err(ErrorKind::OutOfMemory.into());
        }
        wire.token = Some(token.into());
        Ok(())
    }

    fn reregister(&mut self, _: &Registry, _: mio::Token, _: Interest) -> io::Result<()> {
        panic!("registered once and for good");
    }

    fn deregister(&mut self, _: &Registry) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Scripted {
    fn shutdown_write(&mut self) -> io::Result<()> {
        self.0.borrow_mut().shutdown()
    }
}

/// Numbers from a seed (SplitMix64, Steele and others 2014): the same seed, the same run.
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// True `times` in `of`.
    pub fn chance(&mut self, times: u64, of: u64) -> bool {
        self.below(of) < times
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }
}

/// What a server must answer, written apart from the crate's code. `messages` are the reads
/// in chunk framing; in line framing the whole input.
pub mod model {
    /// Chunk framing: every read is a message.
    pub fn chunks(reads: &[Vec<u8>]) -> Vec<u8> {
        let mut out = b"Welcome!".to_vec();
        for read in reads {
            let text_end = read.len()
                - match read.as_slice() {
                    [.., b'\r', b'\n'] => 2,
                    [.., b'\n'] => 1,
                    _ => 0,
                };
            if &read[..text_end] == b"exit" {
                break;
            }
            out.extend([b"Hello, ", &read[..text_end], b"!", &read[text_end..]].concat());
        }
        out
    }

    /// Line framing: what was cut off by the end of input is a message too, if `ended`.
    pub fn lines(input: &[u8], ended: bool) -> Vec<u8> {
        let mut out = b"Welcome!\n".to_vec();
        let mut pieces = input.split(|byte| *byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            let last = pieces.peek().is_none();
            let name = if last {
                piece
            } else {
                piece.strip_suffix(b"\r").unwrap_or(piece)
            };
            if last && !ended && name.len() <= 65_536 + usize::from(name.ends_with(b"\r")) {
                break;
            }
            if name.len() > 65_536 {
                out.extend(b"Error: line longer than 65536 bytes\n");
                break;
            }
            if name == b"exit" || (last && name.is_empty()) {
                break;
            }
            out.extend([b"Hello, ", name, b"!\n"].concat());
        }
        out
    }
}

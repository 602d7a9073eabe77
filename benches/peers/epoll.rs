//! The lower bound for TCP: an edge-triggered epoll loop for the same protocol, with the fewest
//! system calls and no safety.
//!
//! One read and one write per message, one wait per batch, one accept, one registration and one
//! write per client. That is enough because much is missing: budgets, limits, deadlines,
//! generations, counters, logs. Sockets block, so one client that does not read stops the
//! server; so does the first error.

use helloop::protocol::greeting::Framing;
use memchr::memchr_iter;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

/// The listener's event data. A client's is its file descriptor.
const LISTENER: u64 = u64::MAX;

const HELLO: &[u8] = b"Hello, ";
const CHUNK_BYTES: usize = 1_024;
const READ_BYTES: usize = 16 * 1_024;

/// Serves forever.
pub(crate) fn serve(listener: &TcpListener, framing: Framing) {
    match framing {
        Framing::Chunk => run(listener, framing.welcome(), Chunks::new()),
        Framing::Line => run(listener, framing.welcome(), Lines::new()),
    }
}

/// What differs between the framings.
trait Answer {
    /// Reads once and replies. Returns false if the client must be closed.
    fn answer(&mut self, client: &mut Client) -> bool;
}

/// A client. Its index is its file descriptor.
struct Client {
    stream: TcpStream,
    /// An incomplete line.
    partial: Vec<u8>,
}

fn run(listener: &TcpListener, welcome: &[u8], mut answers: impl Answer) {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).expect("a descriptor");
    let interest = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
    let event = EpollEvent::new(interest, LISTENER);
    epoll.add(listener, event).expect("the first registration");
    let mut clients: Vec<Option<Client>> = Vec::new();
    let mut events = [EpollEvent::empty(); 1_024];
    loop {
        // strace interrupts a wait, which then returns an error.
        let count = epoll.wait(&mut events, EpollTimeout::NONE).unwrap_or(0);
        for event in &events[..count] {
            if event.data() == LISTENER {
                accept(listener, &mut clients, welcome, |client, descriptor| {
                    let event = EpollEvent::new(interest, descriptor as u64);
                    epoll.add(client, event).expect("memory for one more");
                });
                continue;
            }
            let slot = &mut clients[event.data() as usize];
            if !slot.as_mut().is_some_and(|client| answers.answer(client)) {
                *slot = None;
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    clients: &mut Vec<Option<Client>>,
    welcome: &[u8],
    register: impl Fn(&TcpStream, usize),
) {
    loop {
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("accept: {error}"),
        };
        let descriptor = usize::try_from(stream.as_raw_fd()).expect("descriptors are positive");
        register(&stream, descriptor);
        stream
            .write_all(welcome)
            .expect("room in a new socket's send buffer");
        if descriptor >= clients.len() {
            clients.resize_with(descriptor + 1, || None);
        }
        let partial = Vec::new();
        clients[descriptor] = Some(Client { stream, partial });
    }
}

/// Reads the name into its place in the reply, so nothing is copied.
struct Chunks {
    reply: [u8; HELLO.len() + CHUNK_BYTES + 3],
}

impl Chunks {
    fn new() -> Self {
        let mut reply = [0; HELLO.len() + CHUNK_BYTES + 3];
        reply[..HELLO.len()].copy_from_slice(HELLO);
        Self { reply }
    }
}

impl Answer for Chunks {
    fn answer(&mut self, client: &mut Client) -> bool {
        let space = &mut self.reply[HELLO.len()..][..CHUNK_BYTES];
        let Ok(count @ 1..) = client.stream.read(space) else {
            return false;
        };
        let ending: &[u8] = match &space[..count] {
            [.., b'\r', b'\n'] => b"\r\n",
            [.., b'\n'] => b"\n",
            _ => b"",
        };
        let end = HELLO.len() + count - ending.len();
        if &self.reply[HELLO.len()..end] == b"exit" {
            return false;
        }
        self.reply[end] = b'!';
        self.reply[end + 1..][..ending.len()].copy_from_slice(ending);
        client
            .stream
            .write_all(&self.reply[..=end + ending.len()])
            .is_ok()
    }
}

/// Sends all replies to one read in one write, from a buffer that never grows.
struct Lines {
    input: Box<[u8]>,
    replies: Box<[u8]>,
}

impl Lines {
    fn new() -> Self {
        Self {
            input: vec![0; READ_BYTES].into(),
            // The reply to an empty line is nine times as long as the line. Add one line that
            // earlier reads began.
            replies: vec![0; 9 * READ_BYTES + 65_536].into(),
        }
    }
}

impl Answer for Lines {
    fn answer(&mut self, client: &mut Client) -> bool {
        let Ok(count @ 1..) = client.stream.read(&mut self.input) else {
            return false;
        };
        let input = &self.input[..count];
        let (mut start, mut end) = (0, 0);
        for line_feed in memchr_iter(b'\n', input) {
            let mut line = &input[start..line_feed];
            start = line_feed + 1;
            if !client.partial.is_empty() {
                client.partial.extend_from_slice(line);
                line = &client.partial;
            }
            line = line.strip_suffix(b"\r").unwrap_or(line);
            if line == b"exit" {
                let _ = client.stream.write_all(&self.replies[..end]);
                return false;
            }
            end += greet(line, &mut self.replies[end..]);
            client.partial.clear();
        }
        client.partial.extend_from_slice(&input[start..]);
        client.stream.write_all(&self.replies[..end]).is_ok()
    }
}

/// Writes one reply at the start of `space`. Returns its length.
#[inline]
fn greet(name: &[u8], space: &mut [u8]) -> usize {
    let length = HELLO.len() + name.len() + 2;
    let reply = &mut space[..length];
    reply[..HELLO.len()].copy_from_slice(HELLO);
    reply[HELLO.len()..length - 2].copy_from_slice(name);
    reply[length - 2..].copy_from_slice(b"!\n");
    length
}

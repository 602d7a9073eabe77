//! The tutorial's own server: a thread for each client, on std alone, to compare the loop with.
//!
//! **Owns** its threads. **Must never touch** the reactor: what is shared with it is the
//! protocol, the sockets' options and the settings. **Invariant**: same bytes in, same bytes
//! out as from the reactor, drain included.
//!
//! Each client has a stack, an entry of the scheduler and, under `--delay`, a sleep of its own.
//! That is simple to write, which is why the tutorial does it, and it is kept honest here:
//! nothing is made slower than it must be. What it cannot do as the reactor does stays undone:
//! there is no cap on clients, nor on time.

use super::limiter::Limiter;
use super::sources::datagrams;
use super::sources::peer::{LINGER, READ_BYTES};
use super::sources::signals::exit_on_second_signal;
use super::stats::CloseCause;
use super::{Outcome, Settings, Summary};
use crate::net::bind::Bound;
use crate::net::system;
use crate::protocol::greeting::{self, Answered, Framing, MAX_DATAGRAM_BYTES};
use crate::reactor::Time;
use crate::warn_limited;
use log::{debug, info, warn};
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use socket2::{Domain, Socket, Type};
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{
    IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket,
};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long an accept that found no descriptor waits before the next: as long as the reactor's.
const RETRY: Duration = Duration::from_millis(100);

/// What all threads share.
#[derive(Debug)]
struct Shared {
    settings: Settings,
    draining: AtomicBool,
    /// The connected clients, so that a drain can end their reading.
    clients: Mutex<HashMap<u64, Arc<TcpStream>>>,
    /// The server's own connections, which only wake a thread that waits in `accept`.
    wakers: Mutex<Vec<SocketAddr>>,
    accepted: AtomicU64,
    messages: AtomicU64,
    datagrams: AtomicU64,
    /// Clients for whom no thread could be started.
    unserved: AtomicU64,
    /// Clients that are owed replies at present.
    owing: AtomicU64,
    news: Sender<News>,
}

impl Shared {
    fn new(settings: Settings, news: Sender<News>) -> Self {
        Self {
            settings,
            draining: AtomicBool::new(false),
            clients: Mutex::default(),
            wakers: Mutex::default(),
            accepted: AtomicU64::new(0),
            messages: AtomicU64::new(0),
            datagrams: AtomicU64::new(0),
            unserved: AtomicU64::new(0),
            owing: AtomicU64::new(0),
            news,
        }
    }
}

/// What the main thread waits for.
#[derive(Debug)]
enum News {
    Signal(i32),
    /// A client, or a listener, has ended.
    Ended,
}

/// Hears Ctrl-C, SIGTERM and SIGUSR1 from now on; what comes before [`run`] waits for it.
///
/// # Errors
///
/// A pair of descriptors is needed.
pub fn signals() -> io::Result<Signals> {
    exit_on_second_signal()?;
    Signals::new([SIGINT, SIGTERM, SIGUSR1])
}

/// Serves the bound sockets until a signal, and drains.
///
/// # Errors
///
/// The first threads could not be had.
pub fn run(
    bound: Vec<Bound>,
    settings: Settings,
    mut signals: Signals,
) -> io::Result<(Outcome, Summary)> {
    let started = Instant::now();
    let (news, incoming) = mpsc::channel();
    let shared = Arc::new(Shared::new(settings, news.clone()));
    spawn("signals", move || {
        for signal in &mut signals {
            if news.send(News::Signal(signal)).is_err() {
                break;
            }
        }
    })?;
    let listeners = listen(bound, &shared)?;
    wait_for_stop(&shared, &incoming);
    info!("stopping: a second signal ends at once");
    shared.draining.store(true, Relaxed);
    for listener in listeners {
        listener.end(&shared);
    }
    // Each client is read once more: a read finds what has come, and then the end of input.
    for stream in lock(&shared.clients).values() {
        let _ = stream.shutdown(Shutdown::Read);
    }
    let outcome = wait_for_clients(&shared, &incoming);
    let unserved = shared.unserved.load(Relaxed);
    if unserved > 0 {
        warn!("{unserved} clients were closed because no thread could be started for them");
    }
    let summary = Summary {
        clients: shared.accepted.load(Relaxed),
        messages: shared.messages.load(Relaxed),
        datagrams: shared.datagrams.load(Relaxed),
        up: started.elapsed(),
    };
    Ok((outcome, summary))
}

/// A listening socket, and the thread that accepts from it.
struct Listener {
    address: SocketAddr,
    socket: Arc<TcpListener>,
    thread: JoinHandle<()>,
}

impl Listener {
    /// What waits is accepted, and then nothing more.
    fn end(self, shared: &Shared) {
        let address = self.address;
        match wake_listener(address, &self.socket, shared) {
            Ok(()) if self.thread.join().is_ok() => {}
            Ok(()) => warn!("the thread that accepted on {address} has panicked"),
            Err(error) => warn!("the thread that accepts on {address} is left behind: {error}"),
        }
    }
}

/// Starts a thread for each socket.
fn listen(bound: Vec<Bound>, shared: &Arc<Shared>) -> io::Result<Vec<Listener>> {
    let mut listeners = Vec::with_capacity(bound.len());
    for Bound { address, tcp, udp } in bound {
        let socket = Arc::new(tcp);
        let (listener, state) = (Arc::clone(&socket), Arc::clone(shared));
        let thread = spawn("accept", move || accept_all(&listener, &state))?;
        listeners.push(Listener {
            address,
            socket,
            thread,
        });
        if let Some(udp) = udp {
            let state = Arc::clone(shared);
            spawn("udp", move || serve_datagrams(&udp, &state))?;
        }
    }
    Ok(listeners)
}

fn wait_for_stop(shared: &Shared, incoming: &mpsc::Receiver<News>) {
    loop {
        match incoming.recv() {
            Ok(News::Signal(SIGUSR1)) => report(shared),
            Ok(News::Ended) => {}
            Ok(News::Signal(_)) | Err(_) => return,
        }
    }
}

fn wait_for_clients(shared: &Shared, incoming: &mpsc::Receiver<News>) -> Outcome {
    let deadline = Instant::now() + shared.settings.drain_timeout;
    while !lock(&shared.clients).is_empty() {
        match incoming.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(News::Signal(SIGUSR1)) => report(shared),
            Ok(News::Signal(_) | News::Ended) => {}
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
    }
    match shared.owing.load(Relaxed) {
        0 => Outcome::Drained,
        owing => Outcome::CutOff(owing),
    }
}

/// Logs all counters.
fn report(shared: &Shared) {
    info!(
        "clients {} accepted {} unserved {}; messages {}; datagrams answered {}",
        lock(&shared.clients).len(),
        shared.accepted.load(Relaxed),
        shared.unserved.load(Relaxed),
        shared.messages.load(Relaxed),
        shared.datagrams.load(Relaxed),
    );
}

/// A thread in `accept` hears nothing but a connection, so it is given one. What the backlog
/// held is accepted before it, and nothing after it, however fast clients come.
fn wake_listener(address: SocketAddr, listener: &TcpListener, shared: &Shared) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let reachable = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    let waker = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    waker.bind(&SocketAddr::new(reachable, 0).into())?;
    // Known before it connects, so that the accepting thread knows it when it comes; and not
    // locked while it connects, which may take until that thread has made room.
    let local = waker.local_addr()?.as_socket();
    lock(&shared.wakers).extend(local);
    let listener = SocketAddr::new(reachable, address.port());
    waker.connect_timeout(&listener.into(), shared.settings.drain_timeout)
}

fn accept_all(listener: &TcpListener, shared: &Arc<Shared>) {
    let started = Instant::now();
    let mut troubles = Limiter::default();
    loop {
        match listener.accept() {
            // Behind its own waker stand only those who came after the signal.
            Ok((_, address))
                if shared.draining.load(Relaxed) && lock(&shared.wakers).contains(&address) =>
            {
                return;
            }
            Ok((stream, address)) => {
                system::inherit_options(listener, &stream);
                start_client(stream, address, shared);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted
                ) => {}
            Err(error) => {
                let now = Time::ZERO.after(started.elapsed());
                warn_limited!(troubles, now, "cannot accept: {error}");
                if shared.draining.load(Relaxed) {
                    return;
                }
                thread::sleep(RETRY);
            }
        }
    }
}

fn start_client(stream: TcpStream, address: SocketAddr, shared: &Arc<Shared>) {
    let id = shared.accepted.fetch_add(1, Relaxed);
    debug!("accepted {address} as #{id}");
    if shared.draining.load(Relaxed) {
        // On some systems it inherits this from the listener, which no longer blocks.
        let _ = stream.set_nonblocking(false);
    }
    let stream = Arc::new(stream);
    lock(&shared.clients).insert(id, Arc::clone(&stream));
    let state = Arc::clone(shared);
    let started = spawn("client", move || {
        let cause = match serve(&stream, &state) {
            Ok(cause) => cause,
            Err(error) => CloseCause::from(error),
        };
        debug!("closed #{id}: {}", cause.name());
        lock(&state.clients).remove(&id);
        let _ = state.news.send(News::Ended);
    });
    if let Err(error) = started {
        // Told of once, with their number, when the server ends.
        debug!("closing {address}: no thread could be started for it: {error}");
        shared.unserved.fetch_add(1, Relaxed);
        lock(&shared.clients).remove(&id);
    }
}

/// The tutorial's `tcplink`: welcome, then read, sleep, answer, until `exit` or end of input.
fn serve(mut stream: &TcpStream, shared: &Shared) -> io::Result<CloseCause> {
    let Settings { framing, delay, .. } = shared.settings;
    let (mut partial, mut replies) = (Vec::new(), Vec::new());
    let mut input = match framing {
        Framing::Chunk => vec![0; greeting::MAX_CHUNK_BYTES],
        Framing::Line => vec![0; READ_BYTES],
    };
    stream.write_all(framing.welcome())?;
    loop {
        let count = match stream.read(&mut input) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        replies.clear();
        let answered = match (framing, count) {
            (Framing::Chunk, 0) => Answered::default(),
            (Framing::Chunk, _) => greeting::answer_chunk(&input[..count], &mut replies),
            (Framing::Line, 0) => greeting::answer_last_line(&mut partial, &mut replies),
            (Framing::Line, _) => {
                greeting::answer_lines(&mut partial, &input[..count], &mut replies)
            }
        };
        shared
            .messages
            .fetch_add(u64::from(answered.messages), Relaxed);
        if !answered.is_empty() {
            shared.owing.fetch_add(1, Relaxed);
            thread::sleep(delay);
            let sent = stream.write_all(&replies);
            shared.owing.fetch_sub(1, Relaxed);
            sent?;
        }
        if let Some(end) = answered.end {
            linger(stream)?;
            return Ok(end.into());
        }
        if count == 0 {
            // In a drain the end may be of our making, and the client still speaking.
            if shared.draining.load(Relaxed) {
                linger(stream)?;
            }
            return Ok(CloseCause::Eof);
        }
    }
}

/// Our end of output, then the rest of the input thrown away: closing with input unread would
/// send a reset, which can destroy the last replies.
fn linger(mut stream: &TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    let deadline = Instant::now() + LINGER;
    let mut rest = [0; 1_024];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        stream.set_read_timeout(Some(left))?;
        if matches!(stream.read(&mut rest), Ok(0) | Err(_)) {
            return Ok(());
        }
    }
}

fn serve_datagrams(socket: &UdpSocket, shared: &Shared) {
    let mut input = vec![0; MAX_DATAGRAM_BYTES + 1];
    let mut reply = Vec::new();
    loop {
        // An error here is one of a datagram sent before; the socket is as good as it was.
        let Ok((length, from)) = socket.recv_from(&mut input) else {
            continue;
        };
        debug!("datagram of {length} bytes from {from}");
        reply.clear();
        let limit = shared.settings.max_datagram;
        match datagrams::answer(&input[..length], from, limit, &mut reply) {
            Ok(()) => {
                // Before it is sent, or a client could be answered and not be counted yet.
                shared.datagrams.fetch_add(1, Relaxed);
                if socket.send_to(&reply, from).is_err() {
                    shared.datagrams.fetch_sub(1, Relaxed);
                    debug!("a reply to {from} could not be sent");
                }
            }
            Err(drop) => debug!("a datagram from {from} is not answered: {}", drop.name()),
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(work)
}

/// A client's thread that panicked took nothing with it that the others need.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

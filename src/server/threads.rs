//! The tutorial's server, for comparison with the loop: one thread per client, using only std.
//!
//! **Owns** its threads. **Must never touch** the reactor: it shares only the protocol, the socket
//! options and the settings with it. **Invariant**: clients receive the same bytes as from the
//! reactor, during a drain too.
//!
//! Each client has a stack, an entry in the scheduler and, with `--delay`, a sleep of its own. That
//! is simple to write, which is why the tutorial does it. The comparison is fair: nothing here is
//! slower than it must be. The only limits on clients are that of each address, which is counted when
//! a client is accepted, and TCP keepalive, which the kernel enforces. There is no other timeout: each
//! thread is blocked in a call.

mod accept;

use super::addresses::ClientsPerAddress;
use super::limiter::Limiter;
use super::shared::DRAIN_BYTES_PER_CLIENT;
use super::sources::datagrams;
use super::sources::peer::LINGER;
use super::sources::signals::{exit_on_second_signal, log_drain};
use super::stats::CloseCause;
use super::{DrainLimit, Outcome, REFUSALS_AT_ONCE, Settings, Summary};
use crate::net::bind::Bound;
use crate::net::system::Descriptor;
use crate::output;
use crate::protocol::buffer::Buffer;
use crate::protocol::greeting::{self, Answered, Framing, MAX_DATAGRAM_BYTES};
use crate::protocol::refusal::Refusal;
use crate::reactor::Time;
use crate::system::{Request, SignalQueue};
use crate::units::count;
use crate::warn_limited;
use accept::AcceptThread;
use enum_map::EnumMap;
use log::{debug, info, warn};
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// The connected clients, by number.
type Clients = HashMap<u64, Arc<TcpStream>>;

/// What all threads of a server share.
#[derive(Debug, Default)]
struct ThreadedServer {
    settings: Settings,
    is_draining: AtomicBool,
    /// Kept so that a drain can end their input.
    clients: Mutex<Clients>,
    /// Notified when a client has left `clients`.
    client_left: Condvar,
    accepted: AtomicU64,
    messages: AtomicU64,
    datagrams: AtomicU64,
    /// Clients closed because no thread could be started for them.
    unserved: AtomicU64,
    /// Clients owed replies now.
    owed: AtomicU64,
    /// The clients of each address, if they are limited.
    addresses: Mutex<ClientsPerAddress>,
    /// Clients refused so far.
    refused: AtomicU64,
    /// Of these, clients that linger now.
    refusing: AtomicU64,
    /// Clients that had sent more than a drain reads.
    cut_off: AtomicU64,
}

impl ThreadedServer {
    fn clients(&self) -> MutexGuard<'_, Clients> {
        // The map is valid even if a thread panicked.
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn addresses(&self) -> MutexGuard<'_, ClientsPerAddress> {
        // Nothing panics while it is locked.
        self.addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn remove(&self, number: u64) {
        let stream = self.clients().remove(&number);
        // The descriptor is closed, and thereby free for another client, after this.
        if let Some(stream) = stream {
            self.addresses().release(stream.descriptor());
        }
        self.client_left.notify_one();
    }

    /// Counts a new client, or returns what it is sent instead of the welcome.
    fn admit(&self, stream: &TcpStream, address: SocketAddr) -> Option<String> {
        let admitted = self.addresses().admit(stream.descriptor(), address.ip());
        let refusal = admitted.err()?;
        self.refused.fetch_add(1, Relaxed);
        Some(refusal.text(self.settings.limit(refusal)))
    }

    /// Does what a signal asks for; `false` if that is to stop.
    fn handle(&self, request: Request) -> bool {
        match request {
            Request::Report => self.report(),
            Request::SaveRecording => {
                info!("SIGUSR2 ignored: --model threads makes no recording");
            }
            Request::Stop => return false,
        }
        true
    }

    /// Clients that a drain has cut off. Those that are owed replies now are out of time.
    fn cut_off_by_limit(&self) -> EnumMap<DrainLimit, u64> {
        let mut clients = EnumMap::default();
        clients[DrainLimit::DrainTimeout] = self.owed.load(Relaxed);
        clients[DrainLimit::ClientBytes] = self.cut_off.load(Relaxed);
        clients
    }

    /// Logs all counters.
    fn report(&self) {
        info!(
            "clients {} accepted {} refused {} unserved {}; messages {}; datagrams answered {}; \
             log-lines-dropped {}",
            self.clients().len(),
            self.accepted.load(Relaxed),
            self.refused.load(Relaxed),
            self.unserved.load(Relaxed),
            self.messages.load(Relaxed),
            self.datagrams.load(Relaxed),
            output::dropped_log_lines(),
        );
    }
}

/// Handles the signals from now on; those that arrive before [`run`] wait for it.
///
/// # Errors
///
/// It needs a pair of descriptors.
pub(crate) fn signals() -> io::Result<SignalQueue> {
    exit_on_second_signal()?;
    SignalQueue::new()
}

/// Serves the bound sockets until a signal, then drains.
///
/// # Errors
///
/// It needs a thread per socket, and a descriptor per listener.
pub(crate) fn run(
    bound: Vec<Bound>,
    settings: Settings,
    mut signals: SignalQueue,
) -> io::Result<(Outcome, Summary)> {
    let started = Instant::now();
    let drain_timeout = settings.drain_timeout;
    let server = Arc::new(ThreadedServer {
        addresses: Mutex::new(ClientsPerAddress::new(settings.max_clients_per_address)),
        settings,
        ..ThreadedServer::default()
    });
    let mut accept_threads = Vec::new();
    for Bound { address, tcp, udp } in bound {
        accept_threads.push(AcceptThread::start(address, tcp, &server)?);
        if let Some(udp) = udp {
            let server = Arc::clone(&server);
            spawn("udp", move || serve_datagrams(&udp, &server))?;
        }
    }
    while signals.wait().is_some_and(|signal| server.handle(signal)) {}
    log_drain(server.clients().len() as u64, drain_timeout);
    server.is_draining.store(true, Relaxed);
    let drain_started = Instant::now();
    let reporter = Arc::clone(&server);
    // If this thread cannot start, SIGUSR1 logs no counters during the drain.
    let _ = spawn("signals", move || {
        while signals.wait().is_some_and(|signal| reporter.handle(signal)) {}
    });
    for acceptor in &accept_threads {
        acceptor.wake(drain_timeout);
    }
    for stream in server.clients().values() {
        end_input(stream);
    }
    for acceptor in accept_threads {
        acceptor.join();
    }
    let clients = server.clients();
    let left = drain_timeout.saturating_sub(drain_started.elapsed());
    let client_left = &server.client_left;
    drop(client_left.wait_timeout_while(clients, left, |clients| !clients.is_empty()));
    let unserved = server.unserved.load(Relaxed);
    if unserved > 0 {
        let clients = count(unserved, "client", "clients");
        warn!("closed {clients} for which no thread could be started");
    }
    let cut_off = server.cut_off_by_limit();
    let outcome = match cut_off.values().sum() {
        0 => Outcome::Drained,
        clients => Outcome::CutOff(clients),
    };
    let summary = Summary {
        clients: server.accepted.load(Relaxed) - server.refused.load(Relaxed),
        messages: server.messages.load(Relaxed),
        datagrams: server.datagrams.load(Relaxed),
        up: started.elapsed(),
        cut_off,
    };
    Ok((outcome, summary))
}

/// Ends the input of a client when a drain begins: reads return what has arrived, and then EOF.
fn end_input(stream: &TcpStream) {
    // It fails if the client is gone.
    let _ = stream.shutdown(Shutdown::Read);
}

/// Starts the thread of a client, which welcomes or refuses it.
fn admit(
    stream: TcpStream,
    address: SocketAddr,
    server: &Arc<ThreadedServer>,
    refused: &mut Limiter,
    now: Time,
) {
    let refusal = server.admit(&stream, address);
    let is_refused = refusal.is_some();
    start_client(stream, address, refusal, server);
    if is_refused {
        let limit = server.settings.limit(Refusal::Address);
        warn_limited!(
            refused,
            now,
            "refused {address}: --max-clients-per-address {limit} is reached"
        );
    }
}

/// Starts the thread of a client, which welcomes it or sends it this refusal.
fn start_client(
    stream: TcpStream,
    address: SocketAddr,
    refusal: Option<String>,
    server: &Arc<ThreadedServer>,
) {
    let number = server.accepted.fetch_add(1, Relaxed);
    debug!("accepted {address} as #{number}");
    let stream = Arc::new(stream);
    server.clients().insert(number, Arc::clone(&stream));
    // Checked after the insertion, so that each client is seen here or when the drain begins.
    if server.is_draining.load(Relaxed) {
        end_input(&stream);
    }
    let shared = Arc::clone(server);
    let serve = move || {
        let served = match &refusal {
            None => serve(&stream, &shared),
            Some(refusal) => refuse(&stream, refusal, &shared),
        };
        let cause = served.unwrap_or_else(CloseCause::from);
        debug!("closed #{number}: {}", cause.name());
        shared.remove(number);
    };
    if let Err(error) = spawn("client", serve) {
        // The number of such clients is logged when the server ends.
        debug!("closed #{number}: cannot start a thread: {error}");
        server.unserved.fetch_add(1, Relaxed);
        server.remove(number);
    }
}

/// The tutorial's `tcplink`: welcomes the client, then reads, sleeps and answers until `exit` or
/// EOF.
fn serve(mut stream: &TcpStream, server: &ThreadedServer) -> io::Result<CloseCause> {
    let Settings { framing, delay, .. } = server.settings;
    let (mut partial, mut replies) = (Buffer::default(), Vec::new());
    let mut input = vec![0; framing.read_bytes()];
    let mut drained_bytes = 0;
    stream.write_all(framing.welcome())?;
    loop {
        let count = match stream.read(&mut input) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        replies.clear();
        let input = &input[..count];
        let answered = match (framing, count) {
            (Framing::Chunk, 0) => Answered::default(),
            (Framing::Chunk, _) => greeting::answer_chunk(input, &mut replies),
            (Framing::Line, 0) => greeting::answer_last_line(&mut partial, &mut replies),
            (Framing::Line, _) => greeting::answer_lines(&mut partial, input, &mut replies),
        };
        let messages = u64::from(answered.messages);
        server.messages.fetch_add(messages, Relaxed);
        if !answered.is_empty() {
            server.owed.fetch_add(1, Relaxed);
            thread::sleep(delay);
            let sent = stream.write_all(&replies);
            server.owed.fetch_sub(1, Relaxed);
            sent?;
        }
        if let Some(end) = answered.end {
            linger(stream)?;
            return Ok(end.into());
        }
        if count == 0 {
            // In a drain the EOF may be ours, and the client may still be sending.
            if server.is_draining.load(Relaxed) {
                linger(stream)?;
            }
            return Ok(CloseCause::Eof);
        }
        if server.is_draining.load(Relaxed) {
            drained_bytes += count;
            if drained_bytes >= DRAIN_BYTES_PER_CLIENT {
                server.cut_off.fetch_add(1, Relaxed);
                linger(stream)?;
                return Ok(CloseCause::CutOff);
            }
        }
    }
}

/// Sends a refusal. At most [`REFUSALS_AT_ONCE`] refused clients linger.
fn refuse(
    mut stream: &TcpStream,
    refusal: &str,
    server: &ThreadedServer,
) -> io::Result<CloseCause> {
    stream.write_all(refusal.as_bytes())?;
    if server.refusing.fetch_add(1, Relaxed) < REFUSALS_AT_ONCE {
        // A client that hangs up was refused, too.
        let _ = linger(stream);
    }
    server.refusing.fetch_sub(1, Relaxed);
    Ok(CloseCause::Busy)
}

/// Sends FIN, then discards input until the client's FIN: closing a socket with unread input sends
/// a reset, which can destroy the last replies (pitfall 10).
fn linger(mut stream: &TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    let deadline = Instant::now() + LINGER;
    let mut rest = [0; 1_024];
    let mut left = LINGER;
    while !left.is_zero() {
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut rest) {
            Ok(0) => break,
            Err(error) if error.kind() != io::ErrorKind::Interrupted => break,
            _ => left = deadline.saturating_duration_since(Instant::now()),
        }
    }
    Ok(())
}

fn serve_datagrams(socket: &UdpSocket, server: &ThreadedServer) {
    let mut input = vec![0; MAX_DATAGRAM_BYTES + 1];
    let mut reply = Vec::new();
    loop {
        // An error concerns an earlier reply; the socket is still usable (pitfall 14).
        let Ok((length, from)) = socket.recv_from(&mut input) else {
            continue;
        };
        debug!("received a {length}-byte datagram from {from}");
        reply.clear();
        let limit = server.settings.max_datagram;
        match datagrams::answer(&input[..length], from, limit, &mut reply) {
            Ok(()) => {
                // Counted first, so that no client has a reply that is not counted.
                server.datagrams.fetch_add(1, Relaxed);
                if let Err(error) = socket.send_to(&reply, from) {
                    server.datagrams.fetch_sub(1, Relaxed);
                    debug!("cannot send a reply to {from}: {error}");
                }
            }
            Err(reason) => debug!(
                "dropped a {length}-byte datagram from {from}: {}",
                reason.name()
            ),
        }
    }
}

fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    thread::Builder::new().name(name.to_owned()).spawn(work)
}

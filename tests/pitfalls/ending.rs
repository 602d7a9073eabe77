//! How connections and the server end: pitfalls 8, 10, 17 and 18.

use crate::counter;
use crate::harness::{Harness, line_settings};
use crate::overloaded;
use crate::script::ScriptedStream;
use crate::util::{
    Process, Server, Setup, TIMEOUT, ask, clients_within_descriptor_limit, connect, expect,
    expect_last, read_exactly, read_to_end, reset,
};
use helloop::server::sources::peer::LINGER;
use helloop::server::stats::CloseCause;
use helloop::server::{Lifecycle, Outcome, Settings};
use socket2::{Domain, Socket, Type};
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// After its FIN a client still reads: it is sent what it is owed.
#[test]
fn p08_a_half_closed_client_is_sent_all_replies() {
    for flags in [
        &["--framing", "line"][..],
        &["--framing", "line", "--delay", "100ms"],
    ] {
        let server = Server::start(flags);
        let mut stream = server.connect();
        stream.write_all(b"Michael\nTracy\nSarah").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        expect_last(
            &mut stream,
            b"Hello, Michael!\nHello, Tracy!\nHello, Sarah!\n",
        );
    }
}

/// The last bytes arrive, and then FIN, never RST, although input is still unread or in flight.
#[test]
fn p10_closing_with_unread_input_sends_no_reset() {
    let server = Server::start(&["--framing", "line", "--max-clients", "1"]);
    let rest = vec![b'x'; 500_000];
    let mut stream = server.connect();
    // A refused client has sent input that is never read.
    let mut refused = connect(server.tcp_address());
    refused.write_all(b"Tracy\n").unwrap();
    refused.shutdown(Shutdown::Write).unwrap();
    expect_last(&mut refused, b"Busy: 1 of 1 clients connected\n");
    let mut writer = stream.try_clone().unwrap();
    let writer = std::thread::spawn(move || {
        writer.write_all(b"Michael\nexit\n").unwrap();
        writer.write_all(&rest).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    expect_last(&mut stream, b"Hello, Michael!\n");
    writer.join().unwrap();

    let mut stream = loop {
        let mut stream = connect(server.tcp_address());
        if read_exactly(&mut stream, 4) == b"Welc" {
            expect(&mut stream, b"ome!\n");
            break stream;
        }
    };
    let too_long = vec![b'x'; 300_000];
    stream.write_all(&too_long).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    expect_last(&mut stream, b"Error: line longer than 65536 bytes\n");
}

/// The kernel still holds replies that a slow client has not read. A message during the drain must
/// not cause a reset, which would destroy them.
#[cfg(unix)] // a signal begins the drain
#[test]
fn p10_a_drain_destroys_no_replies_in_flight() {
    let server = Server::start(&["--framing", "line"]);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    socket.connect(&server.tcp_address().into()).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    let name = [b'x'; 1_000];
    for _ in 0..100 {
        stream.write_all(&[&name[..], b"\n"].concat()).unwrap();
    }
    server.wait_for_messages(100);
    server.signal(nix::sys::signal::Signal::SIGTERM);
    server.stderr().wait_for("stopping");
    // The first of these messages may still be read, the others are not.
    for _ in 0..20 {
        stream.write_all(b"one more\n").unwrap();
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut expected = b"Welcome!\n".to_vec();
    for _ in 0..100 {
        expected.extend([b"Hello, ", &name[..], b"!\n"].concat());
    }
    let received = read_to_end(&mut stream);
    let (count, of) = (received.len(), expected.len());
    assert!(received.starts_with(&expected), "{count} of {of} bytes");
    let rest = &received[of..];
    assert!(rest.len() < 20 * 17 && rest.chunks(17).all(|reply| reply == b"Hello, one more!\n"));
    drop(stream);
    assert_eq!(server.wait().code, Some(0));
}

/// A client that does not close after the server's FIN is closed after a while.
#[test]
fn p10_lingering_has_a_time_limit() {
    let mut harness = Harness::new(Settings::default());
    let client = harness.client(ScriptedStream::unlimited());
    harness.run_until_idle();
    client.borrow_mut().arrive(b"exit", false);
    harness.run_until_idle();
    assert!(client.borrow().shut);
    for _ in 0..10 {
        client.borrow_mut().arrive(b"still here", false);
        harness.run_until_idle();
        assert_eq!(harness.stats().open(), 1);
    }
    harness.advance(LINGER);
    harness.run_until_idle();
    assert_eq!(harness.closed(CloseCause::Exit), 1);
}

/// After SIGTERM each of a thousand clients with a message in flight gets its delayed reply.
#[cfg(unix)] // a signal begins the drain
#[test]
fn p17_a_drain_sends_all_owed_replies_even_delayed_ones() {
    let server = Server::start(&["--delay", "500ms"]);
    let mut clients: Vec<TcpStream> = (0..clients_within_descriptor_limit(1_000))
        .map(|_| server.connect())
        .collect();
    let idle = clients.split_off(clients.len() - 10);
    for stream in &mut clients {
        stream.write_all(b"Ada").unwrap();
    }
    server.signal(nix::sys::signal::Signal::SIGTERM);
    for mut stream in idle {
        expect_last(&mut stream, b"");
    }
    for stream in &mut clients {
        expect_last(stream, b"Hello, Ada!");
    }
    drop(clients);
    let ended = server.wait();
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

/// A drain does not cut a delay short, not even for a client that has sent FIN.
#[test]
fn p17_a_drain_does_not_cut_a_delay_short() {
    let mut harness = Harness::new(Settings {
        delay: Duration::from_secs(2),
        ..line_settings()
    });
    let client = harness.client(ScriptedStream::unlimited());
    harness.run_until_idle();
    client.borrow_mut().written.clear();
    client.borrow_mut().arrive(b"Ada\n", true);
    harness.server.shared.lifecycle = Lifecycle::Stopping;
    harness.run_until_idle();
    assert_eq!(client.borrow().written, b"", "before the delay has passed");
    harness.advance(Duration::from_secs(2));
    harness.run_until_idle();
    assert_eq!(client.borrow().written, b"Hello, Ada!\n");
}

/// A drain drops no queued connection, and reads no client twice.
#[test]
fn p17_a_drain_accepts_the_backlog_and_reads_each_client_once() {
    let mut harness = Harness::new(Settings::default());
    let (_, queue) = harness.listener();
    let (stream, newcomer) = ScriptedStream::unlimited();
    harness.add_remote(&newcomer);
    newcomer.borrow_mut().arrive(b"Tracy", false);
    let client = harness.client(ScriptedStream::unlimited());
    harness.run_until_idle();
    queue.borrow_mut().streams.push_back(stream);
    client.borrow_mut().arrive(b"Michael", false);
    harness.server.shared.lifecycle = Lifecycle::Stopping;
    harness.run_until_idle();
    assert_eq!(newcomer.borrow().written, b"Welcome!Hello, Tracy!");
    assert_eq!(client.borrow().written, b"Welcome!Hello, Michael!");
    client.borrow_mut().arrive(b"Sarah", true);
    newcomer.borrow_mut().arrive(b"Sarah", true);
    harness.run_until_idle();
    assert_eq!(
        client.borrow().written,
        b"Welcome!Hello, Michael!",
        "read twice"
    );
    assert_eq!(harness.outcome, Some(Outcome::Drained));
}

/// Refused clients that do not close delay neither the drain nor each other.
#[test]
fn p17_a_drain_does_not_wait_for_clients_it_would_refuse() {
    let (mut harness, _remotes) = overloaded(200);
    harness.server.shared.lifecycle = Lifecycle::Stopping;
    harness.step();
    harness.run_until_idle();
    assert_eq!(harness.outcome, None, "refusals are still being sent");
    harness.advance(LINGER);
    harness.step();
    harness.run_until_idle();
    assert_eq!(harness.outcome, Some(Outcome::Drained));
}

/// Resets by some clients do not affect the others.
#[test]
fn p18_one_clients_error_never_affects_another() {
    let server = Server::start(&[]);
    let mut polite: Vec<TcpStream> = (0..50).map(|_| server.connect()).collect();
    for _ in 0..5 {
        for _ in 0..50 {
            let mut mallory = server.connect();
            mallory.write_all(b"Mallory").unwrap();
            reset(mallory);
        }
        for stream in &mut polite {
            ask(stream, b"Ada", b"Hello, Ada!");
        }
    }
    #[cfg(unix)]
    assert_eq!(counter(&server.counters(), " clients ").max(50), 50);
    let counters = server.stop().stderr;
    assert!(counter(&counters, "closed, reset: ") > 0, "{counters}");
}

/// On standard input, one byte from the parent requests a drain, and a second ends the process.
#[test]
fn p17_a_byte_on_standard_input_requests_a_drain_and_a_second_ends_it() {
    let mut flags = vec!["--delay=1m", "--drain-timeout=1m"];
    if cfg!(unix) {
        // Elsewhere each server has it: there are no signals.
        flags.push("--exit-with-stdin");
    }
    let mut process = Process::start(Setup::new(&flags).command());
    let line = process.stdout.wait_for("listening on ");
    let address = line.split_whitespace().nth(2).unwrap().parse().unwrap();
    let mut client = connect(address);
    expect(&mut client, b"Welcome!");
    // The reply is owed for longer than the test takes.
    client.write_all(b"Michael").unwrap();
    let mut stdin = process.stdin.take().unwrap();
    stdin.write_all(b"\n").unwrap();
    process.stderr.wait_for("stopping: draining 1 client");
    stdin.write_all(b"\n").unwrap();
    assert_eq!(process.wait().code, Some(143));
}

//! The end of a connection and of the server: pitfalls 8, 10, 17 and 18.

use crate::rig::Rig;
use crate::script::Scripted;
use crate::util::{
    LIMIT, Server, ask, clients_at_most, connect, expect, expect_last, read_exactly, read_to_end,
};
use crate::{crowd, figure};
use helloop::server::sources::peer::LINGER;
use helloop::server::stats::CloseCause;
use helloop::server::{Lifecycle, Outcome, Settings};
use nix::sys::signal::Signal;
use socket2::{Domain, SockRef, Socket, Type};
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// The client's end of input is not its end: what it is owed is sent.
#[test]
fn p08_half_close_fin_is_not_gone() {
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

/// The last bytes arrive, and then the end: never a reset, whatever was still on its way to us.
#[test]
fn p10_closing_with_unread_input_lingers() {
    let server = Server::start(&["--framing", "line", "--max-clients", "1"]);
    let rest = vec![b'x'; 500_000];
    let mut stream = server.connect();
    // Busy, with input that nobody reads, while the first client is still there.
    let mut refused = connect(server.tcp_address());
    refused.write_all(b"Tracy\n").unwrap();
    refused.shutdown(Shutdown::Write).unwrap();
    expect_last(&mut refused, b"Busy: 1 of 1 clients connected\n");
    let mut writer = stream.try_clone().unwrap();
    let pusher = std::thread::spawn(move || {
        writer.write_all(b"Michael\nexit\n").unwrap();
        writer.write_all(&rest).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    expect_last(&mut stream, b"Hello, Michael!\n");
    pusher.join().unwrap();

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

/// The kernel holds what a slow reader has not taken. A drain must not destroy it because the
/// client speaks once more.
#[test]
fn p10_a_drain_does_not_destroy_what_is_on_its_way() {
    let server = Server::start(&["--framing", "line"]);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    socket.connect(&server.tcp_address().into()).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let name = [b'x'; 1_000];
    for _ in 0..100 {
        stream.write_all(&[&name[..], b"\n"].concat()).unwrap();
    }
    server.wait_for_messages(100);
    server.signal(Signal::SIGTERM);
    server.stderr().wait_for("stopping");
    // The first of these may still be heard, the others are not: answered by a reset, they would
    // take the replies with them.
    for _ in 0..20 {
        stream.write_all(b"one more\n").unwrap();
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut wanted = b"Welcome!\n".to_vec();
    for _ in 0..100 {
        wanted.extend([b"Hello, ", &name[..], b"!\n"].concat());
    }
    let got = read_to_end(&mut stream);
    assert!(
        got.starts_with(&wanted),
        "{} of {} bytes",
        got.len(),
        wanted.len()
    );
    let heard = &got[wanted.len()..];
    assert!(heard.len() < 20 * 17 && heard.chunks(17).all(|reply| reply == b"Hello, one more!\n"));
    drop(stream);
    assert_eq!(server.wait().code, Some(0));
}

/// A client that stays after our end of output is not waited for for ever.
#[test]
fn p10_lingering_has_a_limit() {
    let mut rig = Rig::new(Settings::default());
    let wire = rig.client(Scripted::roomy());
    rig.settle();
    wire.borrow_mut().arrive(b"exit", false);
    rig.settle();
    assert!(wire.borrow().shut);
    for _ in 0..10 {
        wire.borrow_mut().arrive(b"still here", false);
        rig.settle();
        assert_eq!(rig.stats().open(), 1);
    }
    rig.pass(LINGER);
    rig.settle();
    assert_eq!(rig.closed(CloseCause::Exit), 1);
}

/// SIGTERM: of a thousand clients with a message in flight, each gets its delayed reply.
#[test]
fn p17_graceful_drain_sends_what_is_owed_delayed_replies_too() {
    let server = Server::start(&["--delay", "500ms"]);
    let mut clients: Vec<TcpStream> = (0..clients_at_most(1_000))
        .map(|_| server.connect())
        .collect();
    let idle = clients.split_off(clients.len() - 10);
    for stream in &mut clients {
        stream.write_all(b"Ada").unwrap();
    }
    server.signal(Signal::SIGTERM);
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

/// Nobody who waits to be accepted is dropped by a drain, and nobody is read twice.
#[test]
fn p17_a_drain_accepts_what_waits_and_reads_everybody_once() {
    let mut rig = Rig::new(Settings::default());
    let (_, waiting) = rig.listener();
    let (stream, newcomer) = Scripted::roomy();
    rig.watch(&newcomer);
    newcomer.borrow_mut().arrive(b"Tracy", false);
    let talker = rig.client(Scripted::roomy());
    rig.settle();
    waiting.borrow_mut().streams.push_back(stream);
    talker.borrow_mut().arrive(b"Michael", false);
    rig.server.shared.lifecycle = Lifecycle::Stopping;
    rig.settle();
    assert_eq!(newcomer.borrow().written, b"Welcome!Hello, Tracy!");
    assert_eq!(talker.borrow().written, b"Welcome!Hello, Michael!");
    talker.borrow_mut().arrive(b"Sarah", true);
    newcomer.borrow_mut().arrive(b"Sarah", true);
    rig.settle();
    assert_eq!(
        talker.borrow().written,
        b"Welcome!Hello, Michael!",
        "never again"
    );
    assert_eq!(rig.outcome, Some(Outcome::Drained));
}

/// Refused clients who do not hang up hold up neither the drain nor each other.
#[test]
fn p17_a_drain_does_not_wait_for_those_it_would_refuse() {
    let (mut rig, _far_ends) = crowd(200);
    rig.server.shared.lifecycle = Lifecycle::Stopping;
    rig.step();
    rig.settle();
    assert_eq!(rig.outcome, None, "the last words are on their way");
    rig.pass(LINGER);
    rig.step();
    rig.settle();
    assert_eq!(rig.outcome, Some(Outcome::Drained));
}

/// Resets and broken pipes of some are nothing to the others.
#[test]
fn p18_one_clients_error_never_touches_another() {
    let server = Server::start(&[]);
    let mut polite: Vec<TcpStream> = (0..50).map(|_| server.connect()).collect();
    for _ in 0..5 {
        for _ in 0..50 {
            let mut rude = server.connect();
            rude.write_all(b"Mallory").unwrap();
            SockRef::from(&rude)
                .set_linger(Some(Duration::ZERO))
                .unwrap();
            drop(rude);
        }
        for stream in &mut polite {
            ask(stream, b"Ada", b"Hello, Ada!");
        }
    }
    let counters = server.counters();
    assert_eq!(figure(&counters, " clients ").max(50), 50);
    assert!(figure(&counters, "closed, reset: ") > 0, "{counters}");
}

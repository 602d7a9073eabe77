//! What mio promises, and what it does not: pitfall 25.

use crate::counter;
use crate::harness::{Harness, line_settings};
use crate::script::{BackEnd, Remote, ScriptedStream};
use crate::util::{Server, ask, ask_udp, run_helloop};

/// A client whose events are reported only after a call has returned `WouldBlock`, and what it has
/// been sent after two messages that arrived one after the other.
fn two_messages(overestimates_short_reads: bool) -> (Harness, Remote) {
    let mut harness = Harness::new(line_settings());
    let client = harness.client(ScriptedStream::unlimited());
    client.borrow_mut().back_end = BackEnd::AfterWouldBlock;
    client.borrow_mut().overestimates_short_reads = overestimates_short_reads;
    harness.run_until_idle();
    for message in [&b"Michael\n"[..], b"Tracy\n"] {
        client.borrow_mut().arrive(message, false);
        harness.run_until_idle();
    }
    (harness, client)
}

#[test]
fn p25_a_short_read_is_no_proof_where_only_would_block_is() {
    let (harness, client) = two_messages(false);
    assert_eq!(
        client.borrow().written,
        b"Welcome!\nHello, Michael!\nHello, Tracy!\n"
    );
    // A read that would block arms both directions, which costs one event for nothing.
    assert!(harness.server.reactor.stats().turns <= 8);
    // The mistake: the second message arrives, and no event ever reports it.
    let (_, client) = two_messages(true);
    assert_eq!(client.borrow().written, b"Welcome!\nHello, Michael!\n");
}

/// On the back end of this build, whichever it is: the server over TCP and UDP, its signals, its
/// observers, and the load generator. More than one message each, since the first event always comes.
#[test]
fn p25_every_kind_of_socket_is_read_until_its_next_event_is_certain() {
    const MESSAGES: u64 = 50;
    let server = Server::start(&["--framing", "line"]);
    let mut client = server.connect();
    let udp = server.udp();
    for _ in 0..MESSAGES {
        ask(&mut client, b"Michael\n", b"Hello, Michael!\n");
        ask_udp(&udp, b"Tracy", b"Hello, Tracy!");
    }
    #[cfg(unix)]
    for _ in 0..2 {
        server.counters();
    }
    let counters = server.stop().stderr;
    assert_eq!(counter(&counters, "; messages "), MESSAGES, "{counters}");
    // Two messages per round. A spurious event for each read that would block makes four turns.
    assert!(
        counter(&counters, "; turns ") <= 4 * MESSAGES + 30,
        "{counters}"
    );
    let server = Server::start(&["--framing", "line"]);
    let to = server.tcp_address().to_string();
    for kind in [&["--framing", "line"][..], &["--udp"]] {
        let load = ["stress", "--to", &to, "--clients", "5", "--messages", "500"];
        let ended = run_helloop(&[&load, kind, &["--warmup", "0s"]].concat());
        assert_eq!(ended.code, Some(0), "{ended:#?}");
    }
}

//! The load does what was asked for: clients, messages, schedules, source addresses.

use crate::util::{Model, Server};
use crate::{run, spawned, stress};

#[test]
fn a_correct_server_gets_a_clean_report() {
    for model in [Model::Reactor, Model::Threads] {
        let server = model.start(&[]);
        let flags = "--clients 50 --duration 500ms --warmup 100ms";
        let (ended, report) = stress(server.tcp_address(), flags);
        assert_eq!(ended.code, Some(0), "{ended:#?}");
        assert_eq!(report["verdict"]["achieved"], true);
        for stage in ["requested", "connected", "greeted", "answered", "peak"] {
            assert_eq!(report["clients"][stage], 50, "{stage}");
        }
        assert_eq!(report["messages"]["sent"], report["messages"]["answered"]);
        assert_eq!(report["latency"]["samples"], report["messages"]["answered"]);
        if cfg!(all(target_os = "linux", not(feature = "portable"))) {
            assert_eq!(
                report["server"]["threads"].as_u64().unwrap() > 50,
                model == Model::Threads
            );
        } else {
            assert!(report["server"].is_null(), "{}", report["server"]);
        }
    }
}

#[test]
fn refused_clients_are_counted_and_the_refusal_is_quoted() {
    let server = Server::start(&["--max-clients", "100"]);
    let to = server.tcp_address();
    let ended = run(&format!(
        "--to {to} --clients 200 --duration 300ms --warmup 0s"
    ));
    assert_eq!(ended.code, Some(4), "{ended:#?}");
    for words in [
        "200 requested, 200 connected, 100 greeted, 100 sent, 100 answered;",
        "lost, busy: 100",
        "the server said: \"Busy: 100 of 100 clients connected\"",
        "NOT ACHIEVED: only 100 of 200 clients were connected and greeted",
    ] {
        assert!(ended.stdout.contains(words), "{words}: {}", ended.stdout);
    }
}

#[test]
fn idle_clients_stay_connected() {
    let flags = "--clients 50 --active 5 --messages 500 --warmup 0s";
    let (ended, report) = spawned(flags);
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert_eq!(
        (
            &report["clients"]["greeted"],
            &report["clients"]["answered"]
        ),
        (&50.into(), &5.into())
    );
    assert_eq!(report["messages"]["answered"], 500);
    assert_eq!(report["clients"]["peak"], 50);
}

#[test]
fn every_pipelined_reply_is_checked() {
    let flags = "--clients 3 --framing line --pipeline 16 --messages 4000 --name= --warmup 0s";
    let (ended, report) = spawned(flags);
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert_eq!(report["messages"]["answered"], 4_000);
    assert_eq!(report["messages"]["bytes_out"], 4_000);
    assert_eq!(report["messages"]["bytes_in"], 4_000 * "Hello, !\n".len());
}

#[test]
fn a_pipeline_above_the_servers_high_water_mark_completes() {
    let flags = "--clients 2 --framing line --pipeline 1024 --messages 8192 --size 1000";
    let (ended, report) = spawned(&format!("{flags} --warmup 0s"));
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert_eq!(report["messages"]["answered"], 8_192);
}

#[test]
fn an_open_loop_sends_exactly_the_scheduled_messages() {
    let flags = "--clients 7 --rate 3456 --duration 2s --warmup 300ms";
    for more in ["", "--udp", "--framing line --pipeline 4"] {
        let (ended, report) = spawned(&format!("{flags} {more}"));
        // A pause of the machine at the end of the window is a missed rate, and nothing else is.
        let shortcomings = report["verdict"]["shortcomings"].as_array().unwrap();
        let is_rate = |line: &serde_json::Value| line.as_str().unwrap().ends_with("/s");
        assert!(shortcomings.iter().all(is_rate), "{ended:#?}");
        assert_eq!(report["plan"]["loop"], "open");
        assert_eq!(
            report["messages"]["sent"].as_u64().unwrap().abs_diff(6_912),
            0,
            "{more:?}"
        );
    }
}

#[test]
fn the_connect_rate_is_kept() {
    let flags = "--clients 50 --connect-rate 100 --messages 50 --warmup 0s";
    let (ended, report) = spawned(flags);
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(report["connects"]["seconds"].as_f64().unwrap() >= 0.45);
}

#[test]
#[cfg_attr(
    any(not(target_os = "linux"), feature = "portable"),
    ignore = "many loopback addresses need Linux"
)]
fn clients_come_from_many_loopback_addresses() {
    let server = Server::start(&["-v"]);
    let flags = "--clients 1100 --active 1 --messages 20 --warmup 0s";
    let (ended, report) = stress(server.tcp_address(), flags);
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert_eq!(report["plan"]["sources"], 2);
    server.stderr().wait_for("accepted 127.0.0.2:");
}

/// About as many as fit a limit of 20,000 descriptors per process; where the limit is lower, the
/// test uses fewer and says so. On poll(2) a fifth of that.
#[test]
#[cfg_attr(
    any(not(target_os = "linux"), feature = "portable"),
    ignore = "one source address has too few ports"
)]
fn nineteen_thousand_clients_are_connected_greeted_and_answered() {
    // Each poll(2) looks at every socket: the time grows with the square of the clients.
    const MAX_CLIENTS: u64 = if cfg!(mio_unsupported_force_poll_poll) {
        4_000
    } else {
        19_000
    };
    let limit = helloop::testing::raise_descriptor_limit();
    let clients = MAX_CLIENTS.min(limit.saturating_sub(100));
    if clients < MAX_CLIENTS {
        eprintln!("only {clients} clients: the limit of this process is {limit} descriptors");
    }
    let messages = 2 * clients;
    let flags = format!("--clients {clients} --messages {messages} --warmup 0s --timeout 30s");
    let (ended, report) = spawned(&flags);
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    for stage in ["requested", "connected", "greeted", "answered", "peak"] {
        assert_eq!(report["clients"][stage], clients, "{stage}");
    }
    assert_eq!(report["messages"]["answered"], messages);
    assert_eq!(report["server"]["threads"], 1);
}

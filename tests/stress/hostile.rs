//! Servers that misbehave at each stage of a conversation: the load and the TCP client end, without a
//! panic, and say what happened.

use crate::faulty::serving;
use crate::util::{Ended, TIMEOUT, reset, run_helloop};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// How far the conversation goes before the fault.
#[derive(Clone, Copy, Debug)]
enum Reached {
    Accept,
    HalfOfTheWelcome,
    Welcome,
    HalfOfAReply,
    Reply,
}

/// What the server does then.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Close,
    Reset,
    Silence,
    Garbage,
    EndlessBytes,
    EndlessGreetings,
    OneByteEach100Ms,
}

const ALL_REACHED: [Reached; 5] = [
    Reached::Accept,
    Reached::HalfOfTheWelcome,
    Reached::Welcome,
    Reached::HalfOfAReply,
    Reached::Reply,
];

const ALL_FAULTS: [Fault; 7] = [
    Fault::Close,
    Fault::Reset,
    Fault::Silence,
    Fault::Garbage,
    Fault::EndlessBytes,
    Fault::EndlessGreetings,
    Fault::OneByteEach100Ms,
];

const WELCOME: &[u8] = b"Welcome!";

fn converse(reached: Reached, stream: &mut TcpStream) -> std::io::Result<()> {
    match reached {
        Reached::Accept => return Ok(()),
        Reached::HalfOfTheWelcome => return stream.write_all(&WELCOME[..4]),
        Reached::Welcome | Reached::HalfOfAReply | Reached::Reply => stream.write_all(WELCOME)?,
    }
    if matches!(reached, Reached::Welcome) {
        return Ok(());
    }
    let mut name = [0; 1_024];
    let count = stream.read(&mut name)?;
    let reply = [b"Hello, ", &name[..count], b"!"].concat();
    let sent = match reached {
        Reached::HalfOfAReply => &reply[..reply.len() / 2],
        _ => &reply[..],
    };
    stream.write_all(sent)
}

/// Until the client is gone.
fn fail(fault: Fault, mut stream: TcpStream) {
    let mut send_forever = |bytes: &[u8], pause| {
        while stream.write_all(bytes).is_ok() {
            thread::sleep(pause);
        }
    };
    match fault {
        Fault::Close => drop(stream),
        Fault::Reset => reset(stream),
        Fault::Silence => drop(stream.read_to_end(&mut Vec::new())),
        Fault::Garbage => {
            let _ = stream.write_all(b"\x00\x1b[2J\xff\r\n\xe2\x80\xae");
            let _ = stream.read_to_end(&mut Vec::new());
        }
        Fault::EndlessBytes => send_forever(&[b'x'; 8_192], Duration::ZERO),
        Fault::EndlessGreetings => {
            let greetings = b"Hello, xxxxxxxxxxxxxxxx!".repeat(300);
            send_forever(&greetings, Duration::ZERO);
        }
        Fault::OneByteEach100Ms => send_forever(b"W", Duration::from_millis(100)),
    }
}

fn server(reached: Reached, fault: Fault) -> SocketAddr {
    serving(move |_, mut stream| {
        if converse(reached, &mut stream).is_ok() {
            fail(fault, stream);
        }
    })
}

/// Runs `check` against every server, several at a time because most of them wait.
fn against_all(check: impl Fn(&str, SocketAddr) + Sync) {
    for reached in ALL_REACHED {
        thread::scope(|scope| {
            for fault in ALL_FAULTS {
                let check = &check;
                scope.spawn(move || {
                    let started = Instant::now();
                    check(&format!("{reached:?}, {fault:?}"), server(reached, fault));
                    assert!(started.elapsed() < TIMEOUT, "{reached:?}, {fault:?}");
                });
            }
        });
    }
}

fn assert_plain(what: &str, ended: &Ended) {
    assert!(!ended.stderr.contains("panicked"), "{what}: {ended:#?}");
    let text = format!("{}{}", ended.stdout, ended.stderr).replace('\n', "");
    assert!(!text.contains(char::is_control), "{what}: {ended:#?}");
}

#[test]
fn the_load_ends_with_a_report() {
    against_all(|what, to| {
        let to = to.to_string();
        let flags = "--clients 4 --duration 300ms --warmup 0s --timeout 500ms";
        let arguments: Vec<&str> = ["stress", "--to", &to]
            .into_iter()
            .chain(flags.split(' '))
            .collect();
        let ended = run_helloop(&arguments);
        assert_eq!(ended.code, Some(4), "{what}: {ended:#?}");
        assert!(ended.stdout.contains("NOT ACHIEVED"), "{what}: {ended:#?}");
        assert_plain(what, &ended);
    });
}

#[test]
fn the_tcp_client_ends_with_one_error() {
    against_all(|what, to| {
        let to = to.to_string();
        let names = ["Michael", "Tracy"];
        let arguments = [&["tcp", "--to", &to, "--timeout", "500ms"], &names[..]].concat();
        let ended = run_helloop(&arguments);
        assert_eq!(ended.code, Some(1), "{what}: {ended:#?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{what}: {ended:#?}");
        assert!(ended.stderr.starts_with("error: "), "{what}: {ended:#?}");
        assert_plain(what, &ended);
    });
}

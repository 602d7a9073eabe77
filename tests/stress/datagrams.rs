//! UDP through a relay that drops, duplicates, delays and changes replies.

use crate::stress;
use crate::util::Server;
use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;

/// What a relay does with each reply, by its number.
type Rule = fn(usize) -> Relayed;

enum Relayed {
    Forwarded,
    Dropped,
    Duplicated,
    Delayed(Duration),
    Changed,
}

/// Starts a relay between clients and a UDP server, with one thread per client.
fn relay(server: SocketAddr, rule: Rule) -> SocketAddr {
    let front = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = front.local_addr().unwrap();
    thread::spawn(move || {
        let mut clients = HashMap::new();
        let mut datagram = [0; 2_048];
        loop {
            let (count, from) = front.recv_from(&mut datagram).unwrap();
            let back = clients.entry(from).or_insert_with(|| {
                let back = UdpSocket::bind("127.0.0.1:0").unwrap();
                back.connect(server).unwrap();
                let (front, back_clone) = (front.try_clone().unwrap(), back.try_clone().unwrap());
                thread::spawn(move || relay_back(&front, &back_clone, from, rule));
                back
            });
            back.send(&datagram[..count]).unwrap();
        }
    });
    address
}

fn relay_back(front: &UdpSocket, back: &UdpSocket, client: SocketAddr, rule: Rule) {
    let mut reply = [0; 2_048];
    for number in 0.. {
        let Ok(count) = back.recv(&mut reply) else {
            return;
        };
        let send = |reply: &[u8]| {
            // The client may have exited.
            let _ = front.send_to(reply, client);
        };
        match rule(number) {
            Relayed::Forwarded => send(&reply[..count]),
            Relayed::Dropped => {}
            Relayed::Duplicated => {
                send(&reply[..count]);
                send(&reply[..count]);
            }
            Relayed::Delayed(time) => {
                let (front, reply) = (front.try_clone().unwrap(), reply[..count].to_vec());
                thread::spawn(move || {
                    thread::sleep(time);
                    let _ = front.send_to(&reply, client);
                });
            }
            Relayed::Changed => send(&[&reply[..count], b"?"].concat()),
        }
    }
}

#[test]
fn lost_late_duplicate_and_wrong_datagrams_are_counted_separately() {
    let server = Server::start(&[]);
    let flags = "--udp --clients 4 --messages 400 --warmup 0s --timeout 300ms";
    let through = relay(server.tcp_address(), |number| match number {
        9 | 19 => Relayed::Dropped,
        5 | 15 | 25 => Relayed::Duplicated,
        7 => Relayed::Delayed(Duration::from_millis(450)),
        _ => Relayed::Forwarded,
    });
    let (ended, report) = stress(through, flags);
    let datagrams = &report["datagrams"];
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert_eq!(
        (&datagrams["duplicate"], &datagrams["wrong"]),
        (&12.into(), &0.into())
    );
    let [lost, late] = ["lost", "late"].map(|kind| datagrams[kind].as_u64().unwrap());
    // On a busy machine more replies may be late; a dropped one never arrives.
    assert!(lost >= 8 && late >= 4, "{datagrams}");
    assert_eq!(report["messages"]["unanswered"], lost + late);
    assert_eq!(report["messages"]["answered"], 400 - lost - late);

    let through = relay(server.tcp_address(), |number| match number {
        3 => Relayed::Changed,
        _ => Relayed::Forwarded,
    });
    let (ended, report) = stress(through, flags);
    assert_eq!(ended.code, Some(4), "{ended:#?}");
    assert_eq!(report["datagrams"]["wrong"], 4);
}

#[test]
fn a_lost_datagram_does_not_delay_the_schedule() {
    let server = Server::start(&[]);
    let through = relay(server.tcp_address(), |number| match number % 10 {
        3 => Relayed::Dropped,
        _ => Relayed::Forwarded,
    });
    let flags = "--udp --clients 2 --rate 400 --duration 1s --warmup 0s";
    let (ended, report) = stress(through, &format!("{flags} --timeout 100ms"));
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert_eq!(report["messages"]["sent"], 400);
    let lost = report["datagrams"]["lost"].as_u64().unwrap();
    assert!((40..60).contains(&lost), "{report}");
}

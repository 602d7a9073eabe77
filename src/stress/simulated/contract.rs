//! The load where an event comes again only after `WouldBlock` (pitfall 25).

use super::BackEnd;
use super::{tcp, udp};
use crate::stress::plan::{Length, Plan};

#[test]
fn p25_clients_read_and_write_until_would_block() {
    for piece_bytes in [1, 7, 1_000] {
        for pipeline in [1, 5] {
            let plan = Plan {
                length: Length::Messages(200),
                ..tcp::lines(3, pipeline)
            };
            let mut run = tcp::start(plan, piece_bytes);
            for (_, wire) in &run.wires {
                wire.borrow_mut().back_end = BackEnd::AFTER_WOULD_BLOCK;
            }
            run.finish(0..0);
            let counters = &run.shared.counters;
            assert_eq!(
                (counters.answered, counters.all_lost()),
                (200, 0),
                "{piece_bytes} {pipeline}"
            );
        }
    }
}

#[test]
fn p25_udp_clients_receive_and_send_until_would_block() {
    // More replies per datagram than a client receives per turn, and a send buffer that is full.
    let scripts: [udp::Script; 2] = [udp::ANSWER, |_| &[0; 40]];
    for (script, duplicates) in scripts.into_iter().zip([0, 39]) {
        let mut run = udp::start(udp::closed(3, 60), script);
        for (_, wire) in &run.wires {
            wire.borrow_mut().back_end = BackEnd::AFTER_WOULD_BLOCK;
            wire.borrow_mut().full = 5..25;
        }
        run.finish(0..0);
        let counters = &run.shared.counters;
        let (answered, lost, late, found, wrong) = udp::fates(counters);
        assert_eq!((answered, lost, late, wrong), (60, 0, 0, 0));
        assert!(found <= 60 * duplicates, "{found}");
    }
}

//! The addresses of the simulated clients, and the limit on the clients of each.

use crate::harness::Harness;
use crate::rng::Rng;
use crate::script::Remote;
use helloop::server::REFUSALS_AT_ONCE;
use helloop::server::addresses::Network;
use helloop::server::sources::peer::PeerState;
use helloop::server::stats::CloseCause;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// Clients of one network, where they are limited.
pub(crate) const MAX_CLIENTS_PER_ADDRESS: u32 = 3;

/// The address of a new client: in half of the cases one of few networks.
pub(crate) fn pick(rng: &mut Rng) -> SocketAddr {
    let address = rng.pick(&[
        "10.0.0.1",
        "::ffff:10.0.0.1",
        "10.0.0.2",
        "2001:db8::1",
        "2001:db8::ffff:1",
        "2001:db8:0:1::1",
    ]);
    let address = if rng.chance(1, 2) {
        address.parse().unwrap()
    } else {
        IpAddr::from([10, 1, 0, u8::try_from(rng.below(250)).unwrap()])
    };
    SocketAddr::new(address, 40_000)
}

/// What shares one limit: an IPv4 address, or the first half of an IPv6 address.
fn network(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => address.to_string(),
            None => format!("{:x?}", &address.octets()[..8]),
        },
    }
}

/// The table counts exactly the clients that are connected, and few refused clients linger.
pub(crate) fn check<'a>(harness: &Harness, clients: impl Iterator<Item = &'a Remote>) {
    let shared = &harness.server.shared;
    if shared.settings.max_clients_per_address.is_none() {
        return assert_eq!(shared.addresses.iter().count(), 0);
    }
    let open = clients.filter(|remote| !remote.borrow().closed);
    let addresses: BTreeMap<_, _> = open
        .map(|remote| (remote.borrow().token, remote.borrow().address))
        .collect();
    let (mut expected, mut lingering) = (BTreeMap::<String, u32>::new(), 0);
    for (token, peer) in harness.peers() {
        match peer.state() {
            PeerState::Refusing(_) | PeerState::Ending(CloseCause::Busy) => {}
            PeerState::Lingering(CloseCause::Busy) => lingering += 1,
            _ => {
                let address = addresses[&Some(token)].unwrap();
                *expected.entry(network(address.ip())).or_default() += 1;
            }
        }
    }
    let counted = shared.addresses.iter().map(|(network, clients)| {
        let name = match network {
            Network::V4(address) => address.to_string(),
            Network::V6(prefix) => format!("{prefix:x?}"),
        };
        (name, clients)
    });
    assert_eq!(counted.collect::<BTreeMap<_, _>>(), expected);
    let mut counts = expected.values();
    assert!(counts.all(|clients| *clients <= MAX_CLIENTS_PER_ADDRESS));
    assert!(lingering <= REFUSALS_AT_ONCE);
}

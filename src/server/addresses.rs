//! The clients of each address.
//!
//! **Owns** the count for `--max-clients-per-address`. **Must never touch** a socket.
//! **Invariant**: each client counted is released once, when its connection is counted as closed;
//! the table has no entry for an address without clients.
//!
//! A client keeps no address: it costs 16 bytes, and getpeername(2) fails after a reset. A table
//! beside the clients has the address of each, by its descriptor, which no other client has while the
//! connection is open. Without the flag both tables stay empty. With it a client costs at most
//! [`MAX_COUNTED_CLIENT_BYTES`] more.

use crate::protocol::refusal::Refusal;
use std::collections::HashMap;
use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr};

/// What shares one count. A host has one IPv4 address, but chooses the last 64 bits of an IPv6 address
/// itself (RFC 4291).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Network {
    /// An IPv4 address, also one that is mapped into IPv6.
    V4(Ipv4Addr),
    /// The first 64 bits of an IPv6 address.
    V6([u8; 8]),
}

/// The most that the two tables have allocated per client, if each has an address of its own: both may
/// have twice the room that they need, and the hash table is at most 7/8 full. Resident memory is a
/// little more: 60 bytes per client with 15,000 addresses, 23 with ten clients on each. The room stays
/// when the clients leave, for the next ones.
pub const MAX_COUNTED_CLIENT_BYTES: usize = 57;
const _: () = assert!(
    2 * size_of::<Option<Network>>() + (size_of::<(Network, u32)>() + 1) * 16 / 7
        <= MAX_COUNTED_CLIENT_BYTES
);

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => {
                let prefix = (address.to_bits() >> 64) as u64;
                Self::V6(prefix.to_be_bytes())
            }
        }
    }
}

/// The clients of each address, up to a limit.
#[derive(Debug, Default)]
pub struct ClientsPerAddress {
    /// `None`: clients are not counted.
    limit: Option<u32>,
    /// The clients of each network that has any. The keys are chosen by clients, and std's hash
    /// function is keyed against that.
    clients: HashMap<Network, u32>,
    /// The network of each client, by its descriptor.
    networks: Vec<Option<Network>>,
}

impl ClientsPerAddress {
    /// Counts up to `limit` clients for each address; with `None`, none.
    #[must_use]
    pub fn new(limit: Option<u32>) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }

    /// Counts a new client.
    ///
    /// # Errors
    ///
    /// Its address has as many as it may have. It is not counted.
    pub fn admit(&mut self, descriptor: usize, address: IpAddr) -> Result<(), Refusal> {
        let Some(limit) = self.limit else {
            return Ok(());
        };
        let network = Network::from(address);
        if self.clients_of(network) >= limit {
            return Err(match network {
                Network::V4(_) => Refusal::Address,
                Network::V6(_) => Refusal::Network,
            });
        }
        *self.clients.entry(network).or_default() += 1;
        if descriptor >= self.networks.len() {
            self.networks.resize(descriptor + 1, None);
        }
        let before = self.networks[descriptor].replace(network);
        debug_assert_eq!(before, None, "{descriptor} is counted already");
        Ok(())
    }

    /// Uncounts a client. Call it before the descriptor is closed, and thereby free for another one.
    /// Does nothing for a client that is not counted.
    pub fn release(&mut self, descriptor: usize) {
        let slot = self.networks.get_mut(descriptor);
        let Some(network) = slot.and_then(Option::take) else {
            return;
        };
        if let Some(clients) = self.clients.get_mut(&network) {
            *clients -= 1;
            if *clients == 0 {
                self.clients.remove(&network);
            }
        }
    }

    /// The clients of one network.
    #[must_use]
    pub fn clients_of(&self, network: Network) -> u32 {
        self.clients.get(&network).copied().unwrap_or_default()
    }

    /// The networks with clients, and how many clients each has.
    pub fn iter(&self) -> impl Iterator<Item = (Network, u32)> {
        self.clients
            .iter()
            .map(|(network, clients)| (*network, *clients))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_client_is_counted_for_its_ipv4_address_or_its_ipv6_network() {
        let network = |text| Network::from(address(text));
        assert_eq!(network("::ffff:10.0.0.1"), network("10.0.0.1"));
        assert_ne!(network("10.0.0.2"), network("10.0.0.1"));
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff::9"));
        assert_ne!(network("2001:db8:1:3::1"), network("2001:db8:1:2::1"));
        assert_ne!(network("::1"), network("::ffff:0.0.0.1"));
    }

    #[test]
    fn an_address_has_as_many_clients_as_it_may_have_and_no_more() {
        let (one, other) = (address("10.0.0.1"), address("2001:db8::1"));
        let mut clients = ClientsPerAddress::new(Some(2));
        assert_eq!(clients.admit(5, one), Ok(()));
        assert_eq!(clients.admit(6, one), Ok(()));
        assert_eq!(clients.admit(7, one), Err(Refusal::Address));
        assert_eq!(clients.admit(8, other), Ok(()));
        assert_eq!(clients.admit(9, other), Ok(()));
        assert_eq!(clients.admit(10, other), Err(Refusal::Network));
        // The refused client ends, and nothing changes.
        clients.release(7);
        assert_eq!(clients.admit(7, one), Err(Refusal::Address));
        clients.release(5);
        assert_eq!(clients.admit(7, one), Ok(()));
        for descriptor in 6..10 {
            clients.release(descriptor);
            clients.release(descriptor);
        }
        assert_eq!(clients.iter().count(), 0);
    }

    #[test]
    fn without_a_limit_nothing_is_kept() {
        let mut clients = ClientsPerAddress::new(None);
        for descriptor in 0..100 {
            assert_eq!(clients.admit(descriptor, address("10.0.0.1")), Ok(()));
        }
        assert_eq!(
            (clients.clients.capacity(), clients.networks.capacity()),
            (0, 0)
        );
        clients.release(1);
    }
}

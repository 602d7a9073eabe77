//! Fuzz target: the addresses that clients connect from. They are those that arithmetic on numbers
//! gives.

use helloop::testing::stress::{CLIENTS_PER_SOURCE, SourceAddresses};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    let sources = text.parse::<SourceAddresses>();
    let expected = Range::parse(text);
    assert_eq!(sources.is_ok(), expected.is_some(), "{text:?} {sources:?}");
    if let (Ok(sources), Some(expected)) = (sources, expected) {
        for client in [0, 999, 1_000, 1_999, 255_000, 16_777_216, u32::MAX] {
            let address = sources.address_for(client);
            assert_eq!(address, Some(expected.address_for(client)), "{client}");
        }
    }
}

/// The host addresses from `first` to `last`, as numbers.
struct Range {
    is_v4: bool,
    first: u128,
    last: u128,
}

impl Range {
    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let (is_v4, address, bits) = match address.parse().ok()? {
            IpAddr::V4(address) => (true, u128::from(u32::from(address)), 32),
            IpAddr::V6(address) => (false, u128::from(address), 128),
        };
        let prefix = match prefix {
            // `parse` would also accept a plus sign, and any number of zeros.
            Some(digits)
                if digits.bytes().all(|byte| byte.is_ascii_digit())
                    && digits.len() <= if is_v4 { 2 } else { 3 } =>
            {
                digits.parse().ok()?
            }
            Some(_) => return None,
            None => bits,
        };
        if prefix > bits {
            return None;
        }
        let hosts = 1_u128
            .checked_shl(bits - prefix)
            .map_or(u128::MAX, |size| size - 1);
        let (network, broadcast) = (address & !hosts, address | hosts);
        // The network and the broadcast address of IPv4 are not hosts.
        let reserved = u128::from(is_v4 && prefix < 31);
        let first = address.max(network + reserved);
        Some(Self {
            is_v4,
            first,
            last: (broadcast - reserved).max(first),
        })
    }

    fn address_for(&self, client: u32) -> IpAddr {
        let number = u128::from(client / CLIENTS_PER_SOURCE);
        let address = match (self.last - self.first).checked_add(1) {
            Some(count) => self.first + number % count,
            None => self.first + number,
        };
        if self.is_v4 {
            Ipv4Addr::from(u32::try_from(address).unwrap()).into()
        } else {
            Ipv6Addr::from(address).into()
        }
    }
}

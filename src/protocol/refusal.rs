//! The refusal: what a client beyond a limit receives instead of the welcome.
//!
//! **Owns** its text. **Must never touch** the count of clients. **Invariant**: each refusal starts
//! with [`BUSY`], in both framings, and names the limit that was reached.

/// The start of a refusal.
pub const BUSY: &[u8] = b"Busy: ";

/// The limit on clients that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// That of the server: `--max-clients`.
    Server,
    /// That of the client's IPv4 address: `--max-clients-per-address`.
    Address,
    /// That of the client's IPv6 network, a /64: `--max-clients-per-address`.
    Network,
}

impl Refusal {
    /// What the client receives.
    #[must_use]
    pub fn text(self, limit: u64) -> String {
        let whose = match self {
            Self::Server => "",
            Self::Address => " of this address",
            Self::Network => " of this /64 network",
        };
        format!("Busy: {limit} of {limit} clients{whose} connected\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_starts_with_busy_and_names_its_limit() {
        for (refusal, text) in [
            (Refusal::Server, "Busy: 10 of 10 clients connected\n"),
            (
                Refusal::Address,
                "Busy: 10 of 10 clients of this address connected\n",
            ),
            (
                Refusal::Network,
                "Busy: 10 of 10 clients of this /64 network connected\n",
            ),
        ] {
            assert_eq!(refusal.text(10), text);
            assert!(text.as_bytes().starts_with(BUSY));
        }
    }
}

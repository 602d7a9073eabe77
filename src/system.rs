//! What the system allows this process, and says of it.
//!
//! **Owns** the calls to the system that concern the process as a whole. **Must never touch** a
//! socket. **Invariant**: asking never fails a program: what cannot be had is `None`, or as it was.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the soft limit on file descriptors to the hard one, which every process may, and
/// returns the limit that then holds. The soft limit is 1,024 on many systems for the sake of
/// programs that still use `select(2)`.
#[must_use]
pub fn raise_descriptor_limit() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return u64::MAX;
    };
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    }
}

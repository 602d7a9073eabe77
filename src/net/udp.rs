//! UDP.

pub mod batch;
#[cfg_attr(
    all(target_os = "linux", not(feature = "portable")),
    path = "udp/batched.rs"
)]
#[cfg_attr(
    not(all(target_os = "linux", not(feature = "portable"))),
    path = "udp/single.rs"
)]
mod platform;

pub use platform::Datagram;

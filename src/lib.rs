//! helloop (hello + loop): a greeting server on one thread.

#[cfg(not(unix))]
compile_error!("helloop needs a Unix: it is built on file descriptors and their readiness");

pub mod client;
pub mod greeting;

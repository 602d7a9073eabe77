//! helloop (hello + loop): a greeting server on one thread.

#[cfg(not(unix))]
compile_error!("helloop needs a Unix: it is built on file descriptors and their readiness");

pub mod buffer;
pub mod cli;
pub mod client;
pub mod greeting;
pub mod observe;
pub mod reactor;
pub mod server;
pub mod stream;
pub mod system;

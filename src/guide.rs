//! The guide: from the socket tutorial to a reactor, in six small steps.
//!
//! You know the tutorial: `socket`, `bind`, `listen`, `accept`, a thread for each client, `recv`
//! and `send`. You have heard that one thread can serve ten thousand clients, and would like to see
//! how. Most of the Rust can be guessed. Three things help: `?` behind a call that failed returns
//! its error from the function; `match` takes the first line that fits; and a socket is closed when
//! the variable that holds it goes away, which is called **dropped**. In the last two steps, more:
//! an `enum` is one of several kinds, each with its data; `impl Source for ServerSource` says that
//! a `ServerSource` can do what a `Source` must; `|x| ...` is a lambda; and `'_` may be overlooked.
//!
//! Each step is a whole server at heart, a `fn serve` that speaks the tutorial's protocol:
//! `Welcome!`, then `Hello, NAME!` to each NAME, until `exit`. It begins with what the step before
//! got wrong, and ends with what still goes wrong: a failure that the page itself shows where it
//! can, and the test of this crate that shows it of a real server.
//!
//! | step | what is new | what still goes wrong |
//! | --- | --- | --- |
//! | 1 [blocking](step1_blocking) | sockets; calls that wait | the second client waits for the first to leave |
//! | 2 [threads](step2_threads) | somebody else waits | each client costs a thread, whether it speaks or not |
//! | 3 [busy](step3_busy) | calls that do not wait | a whole processor for asking in vain |
//! | 4 [readiness](step4_readiness) | the kernel says who is worth a try | it says so once; and much else |
//! | 5 [marked](step5_marked) | events mark, a list works, a share each | who sleeps, sleeps for all |
//! | 6 [deadlines](step6_deadlines) | to wait for a time as for an event | what a server owes to its clients |
//!
//! Who is asleep in which call, while two clients A and B talk now and then:
//!
//! ```text
//!             time -->                                          z: asleep in the call
//! 1 blocking  accept A | read A zzzzzzzzz | write A | read A zzzzzzzzzzzzzzzzzz (B waits)
//! 2 threads   accept A | accept zzzzzz B | accept zzzzzzzzzzzzzzzzzzzzzzzzzzzzz
//!                      | read A zzzzzzzzz | write A | read A zzzzzzzzzzzzzzzzzz
//!                                      | read B zzzzzzz | write B | read B zzzz
//! 3 busy      accept? A? B? accept? A? B? accept? A! B? accept? A? B? accept? A? B! accept?
//! 4 readiness poll zzzzzzzzz | read A, write A | poll zzzz | read B, write B | poll zzzz
//! 5, 6        poll zzzzzzzzz | mark A, mark B | drive A | drive B | poll zzzzzzzzzzzzzzz
//! ```
//!
//! Two chapters are about what is underneath, as this code has it: [TCP and UDP](tcp_and_udp), and
//! [addresses and ports](addresses).
//! The last one, [Break it](break_it), takes the answers out again, one at a time, and shows what a
//! run makes of it.
//!
//! # The pages are tests
//!
//! All code on these pages is compiled and run by `cargo test --doc guide`, with real clients on
//! 127.0.0.1. Some lines are hidden, such as those that start the server. What you see of the
//! clients is what they say and hear: `expect` reads exactly those bytes, and `is_silent` finds
//! nothing to read for a tenth of a second (where nothing would ever come).
//!
//! To try a step out, copy its lines from the page's source (the link at its top) into a file
//! `examples/try.rs` of this crate, without the `//! ` and the `# ` before them, up to where the
//! clients begin (`use clients::*`), and without `mod clients`. Add the `main` that fits, and then:
//! `cargo run --example try`, and `nc 127.0.0.1 9999` in a second terminal.
//!
//! ```no_run
//! # use std::{io, net::TcpListener};
//! # fn serve(_: &TcpListener, _: usize) -> io::Result<()> { Ok(()) }
//! fn main() -> io::Result<()> {
//!     // Steps 1 to 3; the third also returns a count, so `.map(drop)` behind it.
//!     serve(&TcpListener::bind("127.0.0.1:9999")?, usize::MAX)
//! }
//! ```
//!
//! ```no_run
//! # use mio::net::TcpListener;
//! # use std::{io, time::Duration};
//! # fn serve(_: TcpListener, _: usize, _: Duration) -> io::Result<()> { Ok(()) }
//! fn main() -> io::Result<()> {
//!     // Steps 4 to 6, where the listener is mio's; the fourth has no pause.
//!     let listener = TcpListener::bind("127.0.0.1:9999".parse().unwrap())?;
//!     serve(listener, usize::MAX, Duration::from_secs(1))
//! }
//! ```
//!
//! When you are through, read [`reactor`](crate::reactor), and then on in the order that [the
//! crate's first page](crate#a-reading-order) gives.

pub mod addresses;
pub mod break_it;
pub mod step1_blocking;
pub mod step2_threads;
pub mod step3_busy;
pub mod step4_readiness;
pub mod step5_marked;
pub mod step6_deadlines;
pub mod tcp_and_udp;

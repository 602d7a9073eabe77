//! What a person sees: the program in a pseudo-terminal, whose screen `vt100` interprets.
//!
//! The screen is looked at after each piece of output, so that a line which is wrong for a moment
//! only is found too.

#[path = "terminal/get.rs"]
mod get;
#[path = "terminal/prompts.rs"]
mod prompts;
#[path = "terminal/screen.rs"]
mod screen;
#[path = "terminal/stress.rs"]
mod stress;
mod util;

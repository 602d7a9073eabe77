//! Placeholder of the first step.
fn main() {}

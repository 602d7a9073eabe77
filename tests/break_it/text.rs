//! The text that a section of the guide's chapter shows of its runs.
//!
//! **Owns** the text files beside the chapter. **Must never touch** a run. **Invariant**: a text
//! file is only written if `BLESS` is set; it is compared in every case.

#![allow(unreachable_pub)]

use crate::harness::{Harness, Program};
use std::fmt::{Display, Write as _};
use std::path::Path;

/// A ladder longer than this is hard to follow.
const MAX_LADDER_LINES: usize = 25;

/// The text of one section, built piece by piece.
#[derive(Debug, Default)]
pub struct Text(String);

impl Text {
    pub fn line(&mut self, line: impl Display) -> &mut Self {
        writeln!(self.0, "{line}").unwrap();
        self
    }

    /// The run of the naive code, and its outcome.
    pub fn naive<P: Program>(&mut self, harness: &Harness<P>, outcome: &str) -> &mut Self {
        self.line("The naive code:").ladder(&harness.ladder());
        self.line(outcome).line("")
    }

    /// The run of the real server, and its outcome.
    pub fn real<P: Program>(&mut self, harness: &Harness<P>, outcome: &str) -> &mut Self {
        self.line("The code here:").ladder(&harness.ladder());
        self.line(outcome)
    }

    fn ladder(&mut self, ladder: &str) -> &mut Self {
        let lines = ladder.lines().count();
        assert!(
            lines <= MAX_LADDER_LINES,
            "{lines} lines are too many:\n{ladder}"
        );
        self.0.push_str(ladder);
        self
    }

    /// Asserts that the chapter shows this text under `name`; writes it there first if `BLESS` is
    /// set.
    #[track_caller]
    pub fn assert_shown_as(&self, name: &str) {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/guide/break_it");
        let path = Path::new(folder).join(name).with_extension("txt");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&path, &self.0).unwrap();
        }
        let shown = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(self.0, shown, "{} shows another run", path.display());
    }
}

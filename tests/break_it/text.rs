//! EventKind a run has shown, and what the guide shows of it.
//!
//! **Owns** the texts beside the guide's chapter. **Must never touch** a run. **Invariant**: a
//! text that is compared is written anew only where `BLESS` asks for it.

#![allow(unreachable_pub)]

use crate::stage::{Program, Stage};
use std::fmt::{Display, Write as _};
use std::path::Path;

/// EventKind a run has shown, piece by piece.
#[derive(Debug, Default)]
pub struct Text(String);

impl Text {
    pub fn line(&mut self, words: impl Display) -> &mut Self {
        writeln!(self.0, "{words}").unwrap();
        self
    }

    /// The run of the naive code, and what came of it.
    pub fn naive<P: Program>(&mut self, stage: &Stage<P>, outcome: &str) -> &mut Self {
        self.line("The naive code:").ladder(&stage.ladder());
        self.line(outcome).line("")
    }

    /// The run of the code here, and what came of it.
    pub fn here<P: Program>(&mut self, stage: &Stage<P>, outcome: &str) -> &mut Self {
        self.line("The code here:").ladder(&stage.ladder());
        self.line(outcome)
    }

    fn ladder(&mut self, ladder: &str) -> &mut Self {
        let rungs = ladder.lines().count();
        assert!(rungs <= 25, "{rungs} rungs are too many:\n{ladder}");
        self.0.push_str(ladder);
        self
    }

    /// Compares with what the guide shows, or writes that.
    #[track_caller]
    pub fn is_shown_as(&self, name: &str) {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/guide/break_it");
        let path = Path::new(folder).join(name).with_extension("txt");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&path, &self.0).unwrap();
        }
        let shown = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(self.0, shown, "{} shows another run", path.display());
    }
}

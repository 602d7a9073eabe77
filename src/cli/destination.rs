//! The destinations of a command's reports.
//!
//! **Owns** the choice between standard output and a file, how a file is replaced, and the layout that
//! standard output asks for. **Must never touch** what a report says. **Invariant**: a file is replaced
//! by a complete report, or stays as it was; only a terminal gets folded lines and colours.

use super::{Failure, print_line};
use crate::file::{self, Existing, NewFile};
use crate::protocol::escape::escape;
use crate::stress::report::fold::Lines;
use anstream::{AutoStream, ColorChoice};
use log::warn;
use std::fmt;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use terminal_size::{Width, terminal_size_of};

/// How standard output wants its text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// The columns to fold lines to; `None`: they are not folded.
    pub columns: Option<usize>,
    /// Whether colours are shown.
    pub coloured: bool,
}

impl Layout {
    /// The layout for standard output.
    pub(super) fn of_stdout() -> Self {
        let stdout = io::stdout();
        let size = stdout.is_terminal().then(|| terminal_size_of(&stdout));
        Self {
            columns: size.flatten().map(|(Width(columns), _)| columns.into()),
            coloured: AutoStream::choice(&stdout) != ColorChoice::Never,
        }
    }
}

/// Prints lines on standard output, in its layout.
pub(super) fn print_lines(lines: &Lines) -> Result<(), Failure> {
    struct Laid<'a>(&'a Lines, Layout);

    impl fmt::Display for Laid<'_> {
        fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.write(self.1.columns, self.1.coloured, out)
        }
    }

    print_line(Laid(lines, Layout::of_stdout())).map(drop)
}

/// Prints where the server listens. If standard output is closed, the server serves nevertheless, as
/// it does if the reader goes away later; the log then has the addresses.
pub(super) fn announce(lines: &[String]) -> Result<(), Failure> {
    if !print_line(lines.join("\n"))? {
        warn!("standard output is closed; {}", lines.join("; "));
    }
    Ok(())
}

/// The destination of one format of a report.
#[derive(Debug)]
pub(super) enum Destination {
    /// Not wanted.
    None,
    /// Standard output, instead of the text report.
    Stdout,
    /// A file, which appears or is replaced when it is complete.
    File(PathBuf),
}

impl Destination {
    /// The destination with this name; `-` is standard output. Checks that a file can be written, and
    /// changes nothing yet.
    pub(super) fn prepare(path: Option<&Path>) -> Result<Self, Failure> {
        match path {
            None => Ok(Self::None),
            Some(path) if file::is_standard_output(path) => Ok(Self::Stdout),
            Some(path) => match file::check(path, Existing::Replace) {
                Ok(()) => Ok(Self::File(path.to_owned())),
                Err(error) => Err(cannot_write(path, &error)),
            },
        }
    }

    /// Whether it takes the place of the text report.
    pub(super) fn is_stdout(&self) -> bool {
        matches!(self, Self::Stdout)
    }

    /// Writes the contents, which are generated only if they are wanted.
    pub(super) fn write(self, contents: impl FnOnce() -> String) -> Result<(), Failure> {
        match self {
            Self::None => Ok(()),
            Self::Stdout => print_line(contents()).map(drop),
            Self::File(path) => {
                let written = NewFile::create(&path, Existing::Replace).and_then(|mut file| {
                    writeln!(file, "{}", contents())?;
                    file.commit()
                });
                written.map_err(|error| cannot_write(&path, &error))
            }
        }
    }
}

/// Combines all failures into one.
pub(super) fn all<const N: usize>(written: [Result<(), Failure>; N]) -> Result<(), Failure> {
    let failed = written.into_iter().filter_map(Result::err);
    let failed: Vec<String> = failed.map(|failure| failure.message).collect();
    match failed.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(failed.join("; "))),
    }
}

/// Checks that each format has a file of its own. The error is a message for the user.
pub(super) fn check(json: Option<&Path>, html: Option<&Path>) -> Result<(), String> {
    for (flag, path) in [("--json", json), ("--html", html)] {
        if let Some(path) = path.filter(|path| path.is_dir()) {
            return Err(format!(
                "{flag} takes a file: {} is a directory",
                shown(path)
            ));
        }
    }
    let (Some(json), Some(html)) = (json, html) else {
        return Ok(());
    };
    if file::is_standard_output(json) && file::is_standard_output(html) {
        return Err("--json and --html cannot both write to standard output".to_owned());
    }
    if absolute(json) == absolute(html) {
        return Err(format!(
            "--json and --html both write {}: give each a file of its own",
            shown(json)
        ));
    }
    Ok(())
}

/// The path with its folder resolved. The last part is not followed: it is replaced.
fn absolute(path: &Path) -> PathBuf {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let folder = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    folder.join(path.file_name().unwrap_or_default())
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format_args!("cannot write {}: {error}", shown(path)))
}

/// A path for display. A file name may contain control characters, which a terminal would act on.
pub(super) fn shown(path: &Path) -> String {
    escape(path.as_os_str().as_encoded_bytes())
}

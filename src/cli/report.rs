//! `helloop report`.
//!
//! **Owns** the flags of the command, and the opening of its files. **Must never touch** the format
//! of a report. **Invariant**: a file that is not a report causes one clear error line, and nothing is
//! written.

use super::destination::{Destination, Layout, shown};
use super::{Failure, print_line};
use crate::stress::report::{MAX_RUNS, NamedRun, SideBySide, html, read};
use clap::Args;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Show reports of `helloop stress --json`, and compare them.
///
/// Several are shown side by side, with ratios to the first one, each figure with the spread of its
/// seconds, and whether they differ by more than that. One is shown as `helloop stress` shows it.
///
/// Exit codes: 0 shown; 1 a file is not a report, or the page cannot be written; 2 wrong usage.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    helloop report run.json                # show it again\n  \
    helloop report before.json after.json  # compare two runs\n  \
    helloop report before.json - < run     # one of them on standard input\n  \
    helloop report a.json b.json c.json --html runs.html")]
pub(super) struct Report {
    /// Reports from `stress --json FILE`, at most 8; - for stdin.
    #[arg(value_name = "FILE", required = true, num_args = 1..=MAX_RUNS)]
    files: Vec<PathBuf>,
    /// Write an HTML page with charts of all runs; - for stdout.
    ///
    /// One self-contained file. On standard output it replaces the text.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// The width of the tables where standard output is not a terminal.
const COLUMNS: usize = 80;

impl Report {
    /// Checks that standard input is read once. The error is a message for the user.
    pub(super) fn check_usage(&self) -> Result<(), String> {
        match self.files.iter().filter(|path| is_stdin(path)).count() {
            0 | 1 => Ok(()),
            _ => Err("helloop can read a report from standard input once: give one -".to_owned()),
        }
    }

    pub(super) fn run(&self) -> Result<u8, Failure> {
        let html = Destination::prepare(self.html.as_deref())?;
        let runs = self.files.iter().map(|path| open(path));
        let runs: Vec<NamedRun> = runs.collect::<Result<_, _>>()?;
        let text_wanted = !html.is_stdout();
        html.write(|| html::render(&runs))?;
        if !text_wanted {
            return Ok(0);
        }
        let Layout { columns, .. } = Layout::of_stdout();
        match runs.as_slice() {
            [run] => print_line(run.text(columns))?,
            runs => print_line(SideBySide {
                runs,
                columns: columns.unwrap_or(COLUMNS),
            })?,
        };
        Ok(0)
    }
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn open(path: &Path) -> Result<NamedRun, Failure> {
    let (name, report) = if is_stdin(path) {
        ("standard input".to_owned(), read(io::stdin().lock()))
    } else {
        let name = shown(path);
        let file = File::open(path)
            .map_err(|error| Failure::new(format_args!("cannot open {name}: {error}")))?;
        (name, read(file))
    };
    let report = report.map_err(|error| Failure::new(format_args!("{name} {error}")))?;
    Ok(NamedRun { name, report })
}

//! A program in a terminal: its keyboard, its size, and every screen that it has shown.

use crate::util::{HELLOOP, TIMEOUT};
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Instant;

const ROWS: u16 = 60;

/// What a shell does around the program. It outlives it: the exit of a session's first process
/// discards what the terminal has not read yet. It ignores Ctrl-C, which the program does not inherit,
/// and prints the exit code in an escape sequence that displays nothing.
const BEFORE: &str = "trap : INT; ";
const AFTER: &str = "; printf '\\033]%d\\007' $?; exec sleep 60";

/// What a terminal does with lines when it becomes narrower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Narrowed {
    /// It cuts them off, as xterm does.
    Cut,
    /// It wraps them, and moves the cursor along, as most others do.
    Wrapped,
}

/// One screen, at the end of a piece of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Screen {
    pub(crate) columns: u16,
    /// The rows up to the last one with text.
    pub(crate) rows: Vec<String>,
    /// Row and column of the cursor.
    pub(crate) cursor: (u16, u16),
    pub(crate) is_cursor_visible: bool,
    /// Whether long lines are wrapped, as a shell expects.
    pub(crate) wraps: bool,
    /// The lines that have ended so far: those of the log, and results.
    pub(crate) line_ends: usize,
}

impl Screen {
    /// The only row with text, if there is just one.
    pub(crate) fn line(&self) -> Option<&str> {
        let mut rows = self.rows.iter().filter(|row| !row.is_empty());
        rows.next()
            .filter(|_| rows.next().is_none())
            .map(|row| &**row)
    }

    pub(crate) fn contains(&self, text: &str) -> bool {
        self.rows.iter().any(|row| row.contains(text))
    }
}

/// The terminal, written to byte by byte.
struct Emulator {
    parser: vt100::Parser,
    /// The last bytes: an escape sequence, or the end of one.
    sequence: Vec<u8>,
    wraps: bool,
    screens: Vec<Screen>,
    resize: Option<(u16, Narrowed)>,
    /// All bytes.
    raw: Vec<u8>,
    /// The exit code of the program, once it has ended.
    code: Option<u32>,
}

fn non_zero(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).expect("a size")
}

impl Emulator {
    fn feed(&mut self, byte: u8, master: &dyn MasterPty) {
        self.raw.push(byte);
        let is_text = self.sequence.is_empty() && byte >= b' ';
        if byte == 0x1b || !self.sequence.is_empty() {
            self.sequence.push(byte);
        }
        let (_, columns) = self.parser.screen().size();
        let (_, column) = self.parser.screen().cursor_position();
        // vt100 always wraps. Without wrapping, text beyond the last column is lost.
        if self.wraps || !is_text || column + 1 < columns.get() {
            self.parser.process(&[byte]);
        }
        let is_end = match self.sequence.get(1) {
            Some(b']') => byte == 0x07,
            _ => self.sequence.len() > 2 && byte.is_ascii_alphabetic(),
        };
        let sequence = if is_end {
            std::mem::take(&mut self.sequence)
        } else {
            Vec::new()
        };
        match &*sequence {
            b"\x1b[?7l" => self.wraps = false,
            b"\x1b[?7h" => {
                self.wraps = true;
                self.note();
                if let Some((columns, narrowed)) = self.resize.take() {
                    self.resize_now(columns, narrowed, master);
                }
            }
            b"\x1b[J" => self.note(),
            [0x1b, b']', code @ .., 0x07] => {
                let code = str::from_utf8(code).ok();
                self.code = code.and_then(|code| code.parse().ok());
            }
            _ if byte == b'\n' => self.note(),
            _ => {}
        }
    }

    fn note(&mut self) {
        let screen = self.screen();
        if self.screens.last() != Some(&screen) {
            self.screens.push(screen);
        }
    }

    fn screen(&self) -> Screen {
        let screen = self.parser.screen();
        let (_, columns) = screen.size();
        let rows = screen.rows(0, columns.get());
        let mut rows: Vec<_> = rows.map(|row| row.trim_end().to_owned()).collect();
        while rows.last().is_some_and(String::is_empty) {
            rows.pop();
        }
        Screen {
            columns: columns.get(),
            rows,
            cursor: screen.cursor_position(),
            is_cursor_visible: !screen.hide_cursor(),
            wraps: self.wraps,
            line_ends: self.raw.iter().filter(|&&byte| byte == b'\n').count(),
        }
    }

    /// Resizes the screen, and then tells the program, as a terminal does.
    fn resize_now(&mut self, columns: u16, narrowed: Narrowed, master: &dyn MasterPty) {
        let (row, column) = self.screen().cursor;
        let rows = self.screen().rows;
        let line = rows.get(usize::from(row)).cloned().unwrap_or_default();
        let screen = self.parser.screen_mut();
        screen.set_size(non_zero(ROWS), non_zero(columns));
        let wrapped = (line.len().saturating_sub(1) / usize::from(columns)) as u16;
        if narrowed == Narrowed::Wrapped && wrapped > 0 {
            // vt100 cuts off: the line is written again, and the cursor put back to its character.
            let row = row + column / columns;
            let column = column % columns;
            let written = format!("\r{line}\x1b[{};{}H", row + 1, column + 1);
            self.parser.process(written.as_bytes());
            assert!(self.screen().rows.len() > rows.len(), "it did not wrap");
        }
        master.resize(size(columns)).expect("resized");
    }
}

fn size(columns: u16) -> PtySize {
    PtySize {
        rows: ROWS,
        cols: columns,
        ..PtySize::default()
    }
}

type Shared = Arc<(Mutex<Emulator>, Condvar)>;

/// A program in a terminal of its own, which controls it. Killed when dropped.
pub(crate) struct Terminal {
    shared: Shared,
    keyboard: Box<dyn Write + Send>,
    child: Box<dyn Child + Send + Sync>,
}

/// How the program ended, and what it has shown.
pub(crate) struct Shown {
    /// Its exit code; that of a signal is 128 more than its number.
    pub(crate) code: u32,
    pub(crate) screens: Vec<Screen>,
    /// The screen that the shell's prompt would appear on.
    pub(crate) last: Screen,
    pub(crate) raw: Vec<u8>,
}

impl Terminal {
    /// `helloop ARGUMENTS` with standard input, output and error at the terminal.
    pub(crate) fn start(columns: u16, arguments: &str) -> Self {
        Self::run(columns, "\"$@\"", arguments)
    }

    /// A line for the shell, in which `"$@"` is `helloop ARGUMENTS`.
    pub(crate) fn run(columns: u16, script: &str, arguments: &str) -> Self {
        let pair = native_pty_system()
            .openpty(size(columns))
            .expect("a terminal");
        let mut command = CommandBuilder::new("sh");
        command.args(["-c", &[BEFORE, script, AFTER].concat(), "sh", HELLOOP]);
        command.args(arguments.split_whitespace());
        command.env("TERM", "xterm-256color");
        for (name, _) in std::env::vars_os() {
            if name == "RUST_LOG" || name.to_string_lossy().starts_with("HELLOOP_") {
                command.env_remove(name);
            }
        }
        command.cwd(std::env::current_dir().expect("a folder"));
        let child = pair.slave.spawn_command(command).expect("a program");
        drop(pair.slave);
        let shared = Shared::new((
            Mutex::new(Emulator {
                parser: vt100::Parser::new(non_zero(ROWS), non_zero(columns), 0),
                sequence: Vec::new(),
                wraps: true,
                screens: Vec::new(),
                resize: None,
                raw: Vec::new(),
                code: None,
            }),
            Condvar::new(),
        ));
        let keyboard = pair.master.take_writer().expect("a keyboard");
        let reader = Arc::clone(&shared);
        thread::spawn(move || read(&reader, &*pair.master));
        Self {
            shared,
            keyboard,
            child,
        }
    }

    pub(crate) fn type_keys(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("typed");
        self.keyboard.flush().expect("typed");
    }

    /// Resizes the terminal when the status line is on it the next time.
    pub(crate) fn resize(&self, columns: u16, narrowed: Narrowed) {
        self.lock().resize = Some((columns, narrowed));
    }

    fn lock(&self) -> MutexGuard<'_, Emulator> {
        self.shared.0.lock().expect("no panic")
    }

    /// Waits for a screen, among those so far or to come, and returns the first one.
    #[track_caller]
    pub(crate) fn wait_for(&self, is_right: impl Fn(&Screen) -> bool) -> Screen {
        let deadline = Instant::now() + TIMEOUT;
        let mut emulator = self.lock();
        loop {
            let now = emulator.screen();
            let so_far = emulator.screens.iter().find(|screen| is_right(screen));
            if let Some(screen) = so_far.or_else(|| is_right(&now).then_some(&now)) {
                return screen.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                emulator.code.is_none() && !left.is_zero(),
                "no such screen; the last: {:#?}",
                emulator.screen()
            );
            let waited = self.shared.1.wait_timeout(emulator, left);
            emulator = waited.expect("no panic").0;
        }
    }

    #[track_caller]
    pub(crate) fn wait_for_text(&self, text: &str) -> Screen {
        self.wait_for(|screen| screen.contains(text))
    }

    /// Waits until the program ends.
    #[track_caller]
    pub(crate) fn wait(self) -> Shown {
        let deadline = Instant::now() + TIMEOUT;
        let mut emulator = self.lock();
        loop {
            if let Some(code) = emulator.code {
                return Shown {
                    code,
                    screens: emulator.screens.clone(),
                    last: emulator.screen(),
                    raw: emulator.raw.clone(),
                };
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "it does not end: {:#?}", emulator.screen());
            let waited = self.shared.1.wait_timeout(emulator, left);
            emulator = waited.expect("no panic").0;
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(shared: &Shared, master: &dyn MasterPty) {
    let mut output = master.try_clone_reader().expect("the screen");
    let mut buffer = [0; 4_096];
    // On Linux EOF is an error: EIO.
    while let Ok(count @ 1..) = output.read(&mut buffer) {
        let mut emulator = shared.0.lock().expect("no panic");
        for &byte in &buffer[..count] {
            emulator.feed(byte, master);
        }
        shared.1.notify_all();
    }
}

impl Shown {
    /// Nothing but results is left: no part of a status line, the cursor visible on a line of its own.
    #[track_caller]
    pub(crate) fn assert_clean(&self, status_words: &[&str]) {
        let last = &self.last;
        for word in status_words {
            let mut rows = last.rows.iter();
            let is_left =
                rows.any(|row| row.starts_with(word) || row.contains(&format!("  {word}  ")));
            assert!(!is_left, "{word:?} is left: {last:#?}");
        }
        assert!(last.is_cursor_visible, "{last:#?}");
        assert!(last.wraps, "{last:#?}");
        assert_eq!(last.cursor.1, 0, "the prompt follows text: {last:#?}");
        assert_eq!(usize::from(last.cursor.0), last.rows.len(), "{last:#?}");
    }

    /// The status lines with the widths of their screens, until anything else is written: each is the
    /// only text on its screen.
    #[track_caller]
    pub(crate) fn status_lines(&self) -> Vec<(u16, String)> {
        let screens = self.screens.iter();
        let screens = screens.take_while(|screen| screen.line_ends == 0);
        let mut lines = Vec::new();
        for screen in screens.filter(|screen| !screen.rows.is_empty()) {
            let line = screen.line();
            let line = line.unwrap_or_else(|| panic!("more than one line: {screen:#?}"));
            assert!(line.chars().count() < screen.columns.into(), "{screen:#?}");
            lines.push((screen.columns, line.to_owned()));
        }
        lines
    }
}

//! Control of a process on Windows, which has no signals: by its standard input.

use super::Model;
use super::process::Process;
use send_ctrlc::Interruptible;
use std::io::{self, Write};
use std::os::windows::process::CommandExt;
use std::process::Command;
use windows_sys::Win32::System::Threading::CREATE_NO_WINDOW;

/// Set for a test that runs in a console of its own.
const OWN_CONSOLE: &str = "TEST_IN_OWN_CONSOLE";

/// Flags that every server is started with: a byte on standard input lets it drain, and EOF ends it.
pub(super) const SERVE_FLAGS: [&str; 1] = ["--exit-with-stdin"];

/// Lets a server drain.
pub(super) fn request_drain(server: &Process) {
    let mut stdin = server.stdin.as_ref().unwrap();
    stdin.write_all(b"\n").unwrap();
}

/// All processes of this console, as Windows calls them.
struct ThisConsole;

impl Interruptible for ThisConsole {
    fn pid(&mut self) -> io::Result<Option<u32>> {
        Ok(Some(0))
    }
}

/// Ctrl-C, for all processes of this console. See [`in_own_console`].
pub fn ctrl_c(_process: &Process) {
    ThisConsole.interrupt().unwrap();
}

/// Runs a test in a process with a console of its own, without a window, so that [`ctrl_c`] reaches
/// nothing else. The process is this test binary again, which runs this test alone.
pub fn in_own_console(name: &str, model: impl Into<Option<Model>>, test: impl FnOnce()) {
    if std::env::var_os(OWN_CONSOLE).is_some() {
        // Without a handler Ctrl-C ends this process too.
        ctrlc::set_handler(|| {}).unwrap();
        return test();
    }
    let name = match model.into() {
        Some(model) => format!("{}::{name}", model.name()),
        None => name.to_owned(),
    };
    let ended = Command::new(std::env::current_exe().unwrap())
        .args([&*name, "--exact", "--nocapture"])
        .env(OWN_CONSOLE, "1")
        .creation_flags(CREATE_NO_WINDOW)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&ended.stdout);
    let is_passed = ended.status.success() && text.contains("1 passed");
    let errors = String::from_utf8_lossy(&ended.stderr);
    assert!(is_passed, "{text}\n{errors}");
}

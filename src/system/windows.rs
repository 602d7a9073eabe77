//! Windows.
//!
//! **Owns** the names of devices, pages and process groups. **Must never touch** a signal or a
//! stream: its submodules do. **Invariant**: what Windows does not have has no effect here.

mod output;
mod signals;

pub(crate) use output::{Output, OutputStream};
#[cfg(test)]
pub(crate) use output::{PIECE_BYTES, WRITES_AT_ONCE};
pub(crate) use signals::{
    SignalQueue, SignalSource, StdinPipe, StopSignal, before_exit, exit_on_second_stop, on_stop,
    request_stop,
};

use memmap2::MmapMut;
use std::fs::{File, Metadata};
use std::io;
use std::os::windows::process::CommandExt;
use std::path::Path;
use std::process::Command;
use windows_sys::Win32::Foundation::ERROR_PIPE_NOT_CONNECTED;
use windows_sys::Win32::System::Threading::CREATE_NEW_PROCESS_GROUP;

/// The size of a page on each architecture that Windows runs on (x86-64 and ARM64).
const WINDOWS_PAGE_BYTES: usize = 4_096;

/// The names of devices, in each folder and with any extension ("Naming Files, Paths, and
/// Namespaces" in the documentation of Windows).
const DEVICES: [&str; 6] = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];

/// Memory is resident in pages of this size.
#[must_use]
pub(crate) fn page_bytes() -> usize {
    WINDOWS_PAGE_BYTES
}

/// Does nothing: large pages are only used on request.
pub(crate) fn keep_small_pages(_mapping: &MmapMut) {}

/// Whether a write to standard output failed because the reader closed the pipe. Closing the console
/// ends the process instead.
#[must_use]
pub(crate) fn has_lost_reader(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(i32::unsigned_abs);
    error.kind() == io::ErrorKind::BrokenPipe || code == Some(ERROR_PIPE_NOT_CONNECTED)
}

/// Makes the console understand escape sequences, as it can since Windows 10.
#[must_use]
pub(crate) fn enable_escapes() -> bool {
    anstyle_query::windows::enable_ansi_colors() != Some(false)
}

/// Does nothing: a file inherits the permissions of its folder.
pub(crate) fn use_default_permissions(_file: &mut tempfile::Builder<'_, '_>) {}

/// Whether a path names a device, which cannot be replaced.
#[must_use]
pub(crate) fn is_device(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.split('.').next().unwrap_or_default().trim_end();
    let port = stem.get(..3).zip(stem.get(3..));
    let is_port = port.is_some_and(|(kind, number)| {
        ["COM", "LPT"]
            .iter()
            .any(|name| kind.eq_ignore_ascii_case(name))
            && matches!(number.as_bytes(), [b'1'..=b'9'])
    });
    is_port || DEVICES.iter().any(|name| stem.eq_ignore_ascii_case(name))
}

/// Never: a named pipe is not in the file system.
#[must_use]
pub(crate) fn is_fifo(_metadata: &Metadata) -> bool {
    false
}

/// Not called: there are no FIFOs.
pub(crate) fn open_fifo(_path: &Path) -> io::Result<Option<File>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// No path of the system leads to standard output.
#[must_use]
pub(crate) fn is_standard_output(_metadata: &Metadata) -> bool {
    false
}

/// Starts a process in a process group of its own, so that Ctrl-C does not reach it. Ctrl-Break does.
pub(crate) fn own_process_group(command: &mut Command) -> &mut Command {
    command.creation_flags(CREATE_NEW_PROCESS_GROUP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_known_by_their_names() {
        for path in ["NUL", "nul", r"C:\tmp\nul.json", "COM1", "lpt9.txt", "CON"] {
            assert!(is_device(Path::new(path)), "{path}");
        }
        for path in ["null", "COM", "COM10", "COM0", "loop.json", r"NUL\a", "héé"] {
            assert!(!is_device(Path::new(path)), "{path}");
        }
    }
}

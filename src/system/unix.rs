//! Unix.
//!
//! **Owns** file types, pages and process groups. **Must never touch** a signal or a stream: its
//! submodules do. **Invariant**: nothing here blocks, except where a caller asks for it.

mod output;
mod signals;
#[cfg(test)]
mod tests;

pub(crate) use output::{Output, OutputStream};
#[cfg(test)]
pub(crate) use output::{PIECE_BYTES, WRITES_AT_ONCE};
pub(crate) use signals::{
    SignalQueue, SignalSource, StdinPipe, StopSignal, before_exit, exit_on_second_stop, on_stop,
    request_stop,
};

use memmap2::MmapMut;
use nix::errno::Errno;
use nix::unistd::{SysconfVar, sysconf};
use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// The mode of a new file, before the umask applies: that of any program's output.
const FILE_MODE: u32 = 0o666;

/// Memory is resident in pages of this size.
#[must_use]
pub(crate) fn page_bytes() -> usize {
    let bytes = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    bytes.map_or(4_096, |bytes| bytes as usize)
}

/// Keeps Linux from backing adjacent mappings, which look like one, with pages of 2 MiB.
pub(crate) fn keep_small_pages(mapping: &MmapMut) {
    #[cfg(target_os = "linux")]
    let _ = mapping.advise(memmap2::Advice::NoHugePage);
    #[cfg(not(target_os = "linux"))]
    let _ = mapping;
}

/// Whether a write to standard output failed because no one reads it any more: the reader closed the
/// pipe, or the terminal was closed (EIO), which SIGHUP reports too.
#[must_use]
pub(crate) fn has_lost_reader(error: &io::Error) -> bool {
    is_lost(error, standard_output)
}

/// The same for a stream of this type. EIO also reports a disk that fails, and then data is lost.
fn is_lost(error: &io::Error, metadata: impl FnOnce() -> io::Result<Metadata>) -> bool {
    let is_terminal = || metadata().is_ok_and(|metadata| metadata.file_type().is_char_device());
    error.kind() == io::ErrorKind::BrokenPipe
        || error.raw_os_error() == Some(Errno::EIO as i32) && is_terminal()
}

fn standard_output() -> io::Result<Metadata> {
    let own = io::stdout().as_fd().try_clone_to_owned()?;
    File::from(own).metadata()
}

/// Terminals understand escape sequences.
#[must_use]
pub(crate) fn enable_escapes() -> bool {
    true
}

/// Gives a temporary file the permissions of any other new file. Otherwise only its owner could read
/// it.
pub(crate) fn use_default_permissions(file: &mut tempfile::Builder<'_, '_>) {
    file.permissions(Permissions::from_mode(FILE_MODE));
}

/// Never: on Unix a device is a file, and its type says so.
#[must_use]
pub(crate) fn is_device(_path: &Path) -> bool {
    false
}

/// Whether a file is a FIFO: opening it for writing waits for a reader.
#[must_use]
pub(crate) fn is_fifo(metadata: &Metadata) -> bool {
    metadata.file_type().is_fifo()
}

/// Opens a FIFO for writing, without blocking then or later. `None`: it has no reader yet.
///
/// # Errors
///
/// Those of open(2).
pub(crate) fn open_fifo(path: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    options.append(true).custom_flags(nix::libc::O_NONBLOCK);
    match options.open(path) {
        Err(error) if error.raw_os_error() == Some(Errno::ENXIO as i32) => Ok(None),
        opened => opened.map(Some),
    }
}

/// Whether this is the regular file that standard output leads to.
#[must_use]
pub(crate) fn is_standard_output(metadata: &Metadata) -> bool {
    let identity = |found: &Metadata| (found.dev(), found.ino());
    metadata.is_file()
        && standard_output().is_ok_and(|stdout| identity(&stdout) == identity(metadata))
}

/// Starts a process in a process group of its own, so that Ctrl-C does not reach it.
pub(crate) fn own_process_group(command: &mut Command) -> &mut Command {
    command.process_group(0)
}

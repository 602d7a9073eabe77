//! Files of the kinds that only Unix has.

use super::is_lost;
use crate::file::{Existing, NewFile, check};
use nix::errno::Errno;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::thread;

fn write(target: &Path, existing: Existing) {
    let mut file = NewFile::create(target, existing).unwrap();
    file.write_all(b"new").unwrap();
    file.commit().unwrap();
}

#[test]
fn a_link_is_replaced_and_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let (file, link) = (folder.path().join("file"), folder.path().join("link"));
    fs::write(&file, "old").unwrap();
    for target in ["nowhere", "file"] {
        symlink(target, &link).unwrap();
        let refused = check(&link, Existing::Keep).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists, "{target}");
        write(&link, Existing::Replace);
        assert!(fs::symlink_metadata(&link).unwrap().is_file(), "{target}");
        fs::remove_file(&link).unwrap();
    }
    assert_eq!(fs::read(&file).unwrap(), b"old");
}

#[test]
fn a_device_or_a_fifo_is_written_to_and_never_replaced() {
    for existing in [Existing::Keep, Existing::Replace] {
        for path in ["/dev/null", "/dev/stdout"] {
            assert!(check(Path::new(path), existing).is_ok(), "{path}");
        }
        write(Path::new("/dev/null"), existing);
        let folder = tempfile::tempdir().unwrap();
        let (fifo, link) = (folder.path().join("fifo"), folder.path().join("link"));
        mkfifo(&fifo, Mode::S_IRWXU).unwrap();
        symlink("fifo", &link).unwrap();
        assert!(check(&fifo, existing).is_ok());
        let reader = thread::spawn(move || {
            let mut text = String::new();
            File::open(fifo).unwrap().read_to_string(&mut text).unwrap();
            text
        });
        write(&link, existing);
        assert_eq!(reader.join().unwrap(), "new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}

#[test]
fn an_error_of_a_disk_is_no_lost_reader() {
    let disk = || tempfile::tempfile()?.metadata();
    let terminal = || fs::metadata("/dev/null");
    let (eio, full) = (Errno::EIO.into(), Errno::ENOSPC.into());
    assert!(is_lost(&eio, terminal) && !is_lost(&eio, disk));
    assert!(!is_lost(&full, terminal));
    assert!(is_lost(&Errno::EPIPE.into(), disk));
}

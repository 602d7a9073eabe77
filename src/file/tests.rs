//! Files that appear complete or not at all, on the real file system.

use super::*;

type Rename = fn(NamedTempFile, &Path) -> Result<File, PersistError>;
const BOTH_WAYS: [Rename; 2] = [rename_new, claim_and_rename];

fn files(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

fn written(target: &Path, existing: Existing) -> NewFile {
    let mut file = NewFile::create(target, existing).unwrap();
    file.write_all(b"new").unwrap();
    file
}

fn temporary(target: &Path) -> NamedTempFile {
    let mut part = Part::create(target).unwrap();
    part.file().unwrap().as_file().write_all(b"new").unwrap();
    part.0.take().unwrap()
}

fn error_of(result: io::Result<impl Sized>) -> io::ErrorKind {
    match result {
        Ok(_) => panic!("it succeeded"),
        Err(error) => error.kind(),
    }
}

#[test]
fn a_file_is_complete_or_absent() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("page");
    drop(written(&path, Existing::Keep));
    assert_eq!(files(folder.path()), 0);

    let mut file = written(&path, Existing::Keep);
    file.sync().unwrap();
    assert!(!path.exists());
    file.commit().unwrap();
    assert_eq!(
        (fs::read(&path).unwrap(), files(folder.path())),
        (b"new".to_vec(), 1)
    );

    fs::write(&path, "old").unwrap();
    drop(written(&path, Existing::Replace));
    assert_eq!(fs::read(&path).unwrap(), b"old");
    written(&path, Existing::Replace).commit().unwrap();
    assert_eq!(
        (fs::read(&path).unwrap(), files(folder.path())),
        (b"new".to_vec(), 1)
    );
}

#[test]
fn a_target_that_appears_meanwhile_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("page");
    for rename in BOTH_WAYS {
        let file = temporary(&path);
        fs::write(&path, "old").unwrap();
        let taken = rename(file, &path).unwrap_err();
        assert_eq!(taken.error.kind(), io::ErrorKind::AlreadyExists);
        drop(taken);
        fs::remove_file(&path).unwrap();

        let file = written(&path, Existing::Keep);
        fs::write(&path, "old").unwrap();
        assert_eq!(error_of(file.commit()), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(files(folder.path()), 1);
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn both_ways_to_a_new_name_leave_one_file() {
    for rename in BOTH_WAYS {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page");
        let file = temporary(&path);
        assert!(!path.exists());
        rename(file, &path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(files(folder.path()), 1);
    }
}

#[test]
fn only_a_regular_file_is_ever_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let inside = |name: &str| folder.path().join(name);
    fs::write(inside("file"), "old").unwrap();
    fs::create_dir(inside("folder")).unwrap();
    assert!(check(&inside("new"), Existing::Keep).is_ok());
    assert!(
        check(
            Path::new("a-new-name-in-the-working-directory"),
            Existing::Keep
        )
        .is_ok()
    );
    let refused = check(&inside("file"), Existing::Keep);
    assert_eq!(error_of(refused), io::ErrorKind::AlreadyExists);
    assert!(check(&inside("file"), Existing::Replace).is_ok());
    for (path, kind) in [
        (inside("folder"), io::ErrorKind::IsADirectory),
        (inside("no-folder/new"), io::ErrorKind::NotFound),
        (inside("file/new"), io::ErrorKind::NotADirectory),
        (inside("new/"), io::ErrorKind::IsADirectory),
        (inside("new/."), io::ErrorKind::IsADirectory),
        (PathBuf::from("/"), io::ErrorKind::IsADirectory),
        (PathBuf::from(".."), io::ErrorKind::IsADirectory),
    ] {
        assert_eq!(error_of(check(&path, Existing::Replace)), kind, "{path:?}");
        let created = NewFile::create(&path, Existing::Replace);
        assert_eq!(error_of(created), kind, "{path:?}");
    }
    assert_eq!(files(folder.path()), 2);
    assert_eq!(part_files_in(folder.path()), 0);
}

fn part_files_in(folder: &Path) -> usize {
    let files = part_files();
    files.iter().filter(|path| path.starts_with(folder)).count()
}

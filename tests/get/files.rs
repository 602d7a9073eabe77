//! Where a page is saved, and which files are never replaced.

use crate::util::{Process, TIMEOUT, helloop};
use crate::{Get, SHORT_TIMEOUT, message_of, responding_server, server};
use helloop::testing::client::Error;
use helloop::testing::client::http::Place;
use std::fs;
use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn an_existing_file_is_replaced_only_with_force() {
    // Nothing may be fetched if the file cannot be saved: no server listens here.
    let mut get = Get::new("http://127.0.0.1:1/");
    fs::write(get.page(), "old").unwrap();
    let error = get.run().1.unwrap_err();
    assert!(
        matches!(&error, Error::Exists(path) if *path == get.page()),
        "{error:?}"
    );
    assert!(message_of(&error).contains("--force"), "{error}");
    assert_eq!((get.saved(), error.exit_code()), (b"old".to_vec(), 1));

    let short = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    get.options.force = true;
    for (body, kept) in [("new", "old"), ("newer", "newer")] {
        let (url, server) = responding_server(format!("{short}{body}"));
        get.options.url = url;
        assert_eq!(get.run().1.is_ok(), body == kept);
        assert_eq!(
            get.saved(),
            kept.as_bytes(),
            "a failed fetch leaves the old file"
        );
        server.join().unwrap();
    }
}

#[test]
fn a_file_that_appears_during_the_fetch_is_not_replaced() {
    let (url, server, folder) = {
        let folder = tempfile::tempdir().unwrap();
        let page = folder.path().join("page");
        let (url, server) = server(move |stream| {
            // By now the client has checked that there is no such file.
            fs::write(page, "theirs")?;
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nours")
        });
        (url, server, folder)
    };
    let mut get = Get::new(&url);
    get.options.output = Some(folder.path().join("page"));
    get.folder = folder;
    let error = get.run().1.unwrap_err();
    assert!(matches!(error, Error::Exists(_)), "{error:?}");
    assert_eq!(get.saved(), b"theirs");
    server.join().unwrap();
}

#[test]
fn nothing_is_fetched_if_it_cannot_be_saved() {
    let mut get = Get::new("http://127.0.0.1:1/");
    for path in ["no-folder/page", "..", ".", "new/", "new/.", "new//"] {
        get.options.output = Some(get.folder.path().join(path));
        let error = get.run().1.unwrap_err();
        assert!(matches!(error, Error::Save { .. }), "{error:?}");
        assert_eq!(
            (message_of(&error).is_empty(), error.exit_code()),
            (false, 1)
        );
    }
}

#[test]
fn without_an_output_file_the_url_names_it() {
    // The only test that uses the working directory; all others use absolute paths.
    let (url, server) = responding_server("HTTP/1.1 200 OK\r\n\r\nhello");
    let mut get = Get::new(&url);
    std::env::set_current_dir(get.folder.path()).unwrap();
    get.options.output = None;
    let place = Place::File("page.html".into());
    assert_eq!(get.run().1.unwrap().place, place);
    assert_eq!(get.files(), ["page.html"]);
    server.join().unwrap();
}

#[test]
fn a_hidden_name_in_the_url_does_not_hide_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let (url, server) = responding_server("HTTP/1.1 200 OK\r\n\r\nalias ls=rm");
    let url = url.replace("page.html", ".bashrc");
    let mut command = helloop(&["get", &url]);
    command.current_dir(folder.path());
    let ended = Process::start(command).wait();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.ends_with("saved in _bashrc\n"), "{ended:?}");
    let names: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(names.len(), 1);
    assert!(folder.path().join("_bashrc").exists());
    server.join().unwrap();
}

#[cfg(unix)] // sends signals
#[test]
fn a_signal_leaves_no_incomplete_file() {
    for signal in [
        nix::sys::signal::Signal::SIGINT,
        nix::sys::signal::Signal::SIGTERM,
    ] {
        let (url, server) = server(|stream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")?;
            // Until the client is gone.
            std::io::copy(stream, &mut std::io::sink()).map(drop)
        });
        let get = Get::new(&url);
        let page = get.page();
        let client = Process::start(helloop(&["get", &url, "-o", page.to_str().unwrap()]));
        let deadline = Instant::now() + TIMEOUT;
        while get.files().is_empty() {
            assert!(Instant::now() < deadline, "no incomplete file");
            thread::sleep(Duration::from_millis(5));
        }
        assert!(get.files()[0].ends_with(".part"), "{:?}", get.files());
        client.signal(signal);
        let signalled = Instant::now();
        let ended = client.wait();
        assert!(signalled.elapsed() < TIMEOUT / 2, "{signal}");
        assert_eq!(ended.code, None, "the signal ends it: {ended:?}");
        assert_eq!(get.files(), [""; 0], "{signal}");
        server.join().unwrap();
    }
}

#[test]
fn an_error_page_never_replaces_a_file() {
    for status in [400, 404, 503, 999, 0, 99, 304] {
        let response = format!("HTTP/1.1 {status:03} X\r\nContent-Length: 4\r\n\r\ngone");
        for is_there in [false, true] {
            let (url, server) = responding_server(response.clone());
            let mut get = Get::new(&url);
            get.options.force = true;
            if is_there {
                fs::write(get.page(), "good").unwrap();
            }
            let error = get.run().1.unwrap_err();
            assert!(matches!(error, Error::Status { .. }), "{error:?}");
            let expected: &[&str] = if is_there { &["page"] } else { &[] };
            assert_eq!(get.files(), expected, "{status}");
            if is_there {
                assert_eq!(get.saved(), b"good");
            }
            server.join().unwrap();
        }
    }
}

#[test]
fn a_dash_is_standard_output_and_nothing_else_is_there() {
    for name in ["-", "/dev/stdout"] {
        let folder = tempfile::tempdir().unwrap();
        let (url, server) = responding_server("HTTP/1.1 200 OK\r\n\r\nhel\x1blo");
        let mut command = helloop(&["get", &url, "-o", name]);
        command.current_dir(folder.path());
        let ended = Process::start(command).wait();
        assert_eq!(
            (ended.code, &*ended.stdout),
            (Some(0), "hel\x1blo\n"),
            "{name}"
        );
        // No line of the log, which would follow the body on a terminal.
        assert_eq!(ended.stderr, "HTTP/1.1 200 OK\r\n");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{name}");
        server.join().unwrap();
    }
}

#[cfg(unix)] // needs links in /dev
#[test]
fn the_file_that_standard_output_leads_to_is_not_opened_again() {
    for name in ["/dev//stdout", "/dev/./fd/1", "/dev/../dev/stdout"] {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let (url, server) = responding_server("HTTP/1.1 200 OK\r\n\r\nhello");
        let mut command = helloop(&["get", &url, "-o", name]);
        command.stdout(fs::File::create(&out).unwrap());
        let ended = command.output().unwrap();
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        assert_eq!(fs::read(&out).unwrap(), b"hello", "{name}");
        server.join().unwrap();
    }
}

#[cfg(unix)] // Windows refuses such a name
#[test]
fn a_file_name_reaches_no_terminal_unescaped() {
    let folder = tempfile::tempdir().unwrap();
    let hostile = "e\x1b[31m\x1b]0;PWN\x07x";
    let shown = "e\\u{1b}[31m\\u{1b}]0;PWN\\u{7}x";
    let (url, server) = responding_server("HTTP/1.1 200 OK\r\n\r\nhello");
    let inside = format!("{hostile}/page");
    for (output, code) in [(hostile, 0), (hostile, 1), (&inside, 1)] {
        let mut command = helloop(&["get", &url, "-o", output]);
        command.current_dir(folder.path());
        let ended = Process::start(command).wait();
        assert_eq!(ended.code, Some(code), "{ended:?}");
        let said = ended.stdout + &ended.stderr;
        assert!(said.contains(shown), "{said:?}");
        assert!(!said.contains(['\x1b', '\x07']), "{said:?}");
    }
    server.join().unwrap();
}

#[cfg(unix)] // needs FIFOs in the file system
#[test]
fn a_fifo_is_waited_for_until_the_timeout() {
    const LARGE_BYTES: usize = 500_000;
    // Nobody opens it; someone does and does not read.
    for (is_open, words) in [(false, "no one reads it"), (true, "does not read on")] {
        let mut response = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
        response.resize(response.len() + LARGE_BYTES, b'x');
        let (url, server) = responding_server(response);
        let mut get = Get::new(&url);
        get.options.timeout = 2 * SHORT_TIMEOUT;
        nix::unistd::mkfifo(&get.page(), nix::sys::stat::Mode::S_IRWXU).unwrap();
        // Open for both, it waits for no writer.
        let reader = is_open.then(|| {
            let mut options = fs::OpenOptions::new();
            options.read(true).write(true).open(get.page()).unwrap()
        });
        let began = Instant::now();
        let error = get.run().1.unwrap_err();
        assert!(began.elapsed() < TIMEOUT, "{error}");
        assert!(message_of(&error).contains(words), "{error}");
        drop(reader);
        server.join().unwrap();
    }
}

#[test]
fn a_body_is_escaped_on_a_terminal_only() {
    let body = b"a\tb\r\n\x1b[2J\xff";
    for (escaped, expected) in [(false, &body[..]), (true, b"a\tb\n\\u{1b}[2J\\xff\n")] {
        let (url, server) = responding_server([b"HTTP/1.1 200 OK\r\n\r\n", &body[..]].concat());
        let mut get = Get::new(&url);
        get.options.output = Some("-".into());
        let (_, out, result) = get.fetch(escaped);
        assert_eq!(result.unwrap().place, Place::Stdout);
        assert_eq!(out, expected);
        server.join().unwrap();
    }
}

#[cfg(unix)] // needs FIFOs in the file system
#[test]
fn devices_and_fifos_are_written_to() {
    let (url, server) = responding_server("HTTP/1.1 200 OK\r\n\r\nhello");
    let mut get = Get::new(&url);
    get.options.output = Some("/dev/null".into());
    assert_eq!(get.run().1.unwrap().bytes, 5);
    server.join().unwrap();

    let (url, server) = responding_server("HTTP/1.1 200 OK\r\n\r\nhello");
    let get = Get::new(&url);
    nix::unistd::mkfifo(&get.page(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let page = get.page();
    let reader = thread::spawn(move || fs::read(page).unwrap());
    get.run().1.unwrap();
    assert_eq!(reader.join().unwrap(), b"hello");
    assert_eq!(get.files(), ["page"]);
    server.join().unwrap();

    // A device that takes nothing.
    #[cfg(target_os = "linux")]
    {
        let (url, server) = responding_server("HTTP/1.1 200 OK\r\n\r\nhello");
        let mut get = Get::new(&url);
        get.options.output = Some("/dev/full".into());
        let error = get.run().1.unwrap_err();
        assert!(matches!(error, Error::Save { .. }), "{error:?}");
        server.join().unwrap();
    }
}

#[test]
fn an_error_says_whether_anything_is_saved() {
    let response = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf";
    for (output, end) in [
        ("page", "end of the body; try again; nothing saved\n"),
        ("-", "end of the body; try again\n"),
        #[cfg(unix)]
        ("/dev/null", "end of the body; try again\n"),
        #[cfg(windows)]
        ("NUL", "end of the body; try again\n"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (url, server) = responding_server(response);
        let mut command = helloop(&["get", &url, "-o", output]);
        command.current_dir(folder.path());
        let ended = Process::start(command).wait();
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.ends_with(end), "{ended:?}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        server.join().unwrap();
    }
}

#[test]
fn a_compressed_body_is_saved_as_it_is_with_a_warning() {
    let response = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nzipped";
    let (url, server) = responding_server(response);
    let folder = tempfile::tempdir().unwrap();
    let mut command = helloop(&["get", &url]);
    command.current_dir(folder.path());
    let ended = Process::start(command).wait();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("WARN"), "{ended:?}");
    assert!(
        ended.stderr.contains("compressed body, unasked"),
        "{ended:?}"
    );
    assert!(ended.stderr.ends_with(": gzip\n"), "{ended:?}");
    assert_eq!(
        fs::read(folder.path().join("page.html")).unwrap(),
        b"zipped"
    );
    let request = server.join().unwrap();
    assert!(
        request.contains("\r\nAccept-Encoding: identity\r\n"),
        "{request}"
    );
}

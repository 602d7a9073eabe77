//! Redirects: which are followed, where to, and what a server can make of them.

use crate::util::{Process, helloop};
use crate::{Get, message_of, responding_server};
use helloop::testing::client::Error;
use helloop::testing::client::http::{MAX_REDIRECTS, RedirectError, UrlError};
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread::{self, JoinHandle};

/// A server that answers this many requests by their targets, and returns the targets.
fn server_of(
    requests: usize,
    answer: impl Fn(&str) -> String + Send + 'static,
) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let root = format!("http://{}", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let serve = |_| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(&stream).lines();
            let request = lines.next().unwrap().unwrap();
            let target = request.split(' ').nth(1).unwrap().to_owned();
            lines.find(|line| line.as_ref().unwrap().is_empty());
            stream.write_all(answer(&target).as_bytes()).unwrap();
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = io::copy(&mut stream, &mut io::sink());
            target
        };
        (0..requests).map(serve).collect()
    });
    (root, server)
}

fn redirect(status: u16, location: &str) -> String {
    format!("HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 5\r\n\r\nmoved")
}

const PAGE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

#[test]
fn a_redirect_is_followed_to_the_page() {
    for status in [301, 302, 303, 307, 308] {
        let (root, server) = server_of(3, move |target| match target {
            "/a/first" => redirect(status, "second?x#part"),
            "/a/second?x" => redirect(status, "/third"),
            _ => PAGE.to_owned(),
        });
        let get = Get::new(&format!("{root}/a/first"));
        let (heads, result) = get.run();
        assert_eq!(result.unwrap().status, 200);
        assert_eq!(get.saved(), b"hello");
        assert_eq!(
            server.join().unwrap(),
            ["/a/first", "/a/second?x", "/third"]
        );
        // All headers are printed, an empty line between them.
        let starts: Vec<&str> = heads
            .split("\n\n")
            .map(|head| head.split(' ').nth(1).unwrap())
            .collect();
        let moved = status.to_string();
        assert_eq!(starts, [&moved, &moved, "200"], "{heads}");
        assert!(heads.contains("Location: /third\r\n"), "{heads}");
    }
}

#[test]
fn a_redirect_may_lead_to_another_server() {
    let (other, second) = server_of(1, |_| PAGE.to_owned());
    let (root, first) = server_of(1, move |_| redirect(302, &format!("{other}/page")));
    let get = Get::new(&root);
    get.run().1.unwrap();
    assert_eq!(get.saved(), b"hello");
    assert_eq!(first.join().unwrap(), ["/"]);
    assert_eq!(second.join().unwrap(), ["/page"]);
}

#[test]
fn redirects_end() {
    let (root, server) = server_of(MAX_REDIRECTS + 1, |_| redirect(302, "/again"));
    let get = Get::new(&root);
    let error = get.run().1.unwrap_err();
    assert!(
        matches!(&error, Error::Redirect { source: RedirectError::TooMany { to }, .. } if to == "/again"),
        "{error:?}"
    );
    assert!(message_of(&error).contains("10 redirects"), "{error}");
    assert_eq!((get.files(), error.exit_code()), (Vec::new(), 1));
    server.join().unwrap();

    let (root, server) = server_of(MAX_REDIRECTS + 1, |target| {
        let number: usize = target[1..].parse().unwrap();
        match number {
            MAX_REDIRECTS => PAGE.to_owned(),
            _ => redirect(301, &format!("{}", number + 1)),
        }
    });
    Get::new(&format!("{root}/0")).run().1.unwrap();
    server.join().unwrap();
}

#[test]
fn a_redirect_that_cannot_be_followed_says_where_it_leads() {
    for (location, expected, words) in [
        (
            "https://example.org/x",
            UrlError::Encrypted,
            "redirects to https://example.org/x: https needs TLS",
        ),
        ("ftp://h/", UrlError::Scheme, "redirects to ftp://h/: "),
        ("http://me:secret@h/", UrlError::User, "user name"),
    ] {
        let (url, server) = responding_server(redirect(301, location));
        let get = Get::new(&url);
        let error = get.run().1.unwrap_err();
        assert!(
            matches!(
                &error,
                Error::Redirect { source: RedirectError::Url { source, .. }, .. } if *source == expected
            ),
            "{error:?}"
        );
        assert!(message_of(&error).contains(words), "{error}");
        assert_eq!((get.files(), error.exit_code()), (Vec::new(), 1));
        server.join().unwrap();
    }
    for (fields, words) in [
        ("", "does not say where"),
        ("Location: \r\n", "does not say where"),
        ("Location: /a\r\nLocation: /b\r\n", "several places"),
    ] {
        let response = format!("HTTP/1.1 302 Found\r\n{fields}\r\nmoved");
        let (url, server) = responding_server(response);
        let error = Get::new(&url).run().1.unwrap_err();
        assert!(message_of(&error).contains(words), "{error}");
        server.join().unwrap();
    }
}

#[test]
fn a_hostile_location_reaches_no_terminal_unescaped() {
    // C1 controls and the bidirectional ones are legal bytes of a header.
    let response = redirect(302, "http://\u{9b}31m\u{202e}/").into_bytes();
    let (url, server) = responding_server(response);
    let (heads, _, result) = Get::new(&url).fetch(true);
    let message = message_of(&result.unwrap_err());
    for shown in [heads, message] {
        assert!(shown.contains("\\u{9b}31m\\u{202e}"), "{shown}");
        assert!(!shown.contains(['\u{9b}', '\u{202e}']), "{shown}");
    }
    server.join().unwrap();
}

#[test]
fn without_following_the_redirect_itself_is_saved() {
    let (url, server) = responding_server(redirect(302, "http://x/"));
    let mut get = Get::new(&url);
    get.options.follow = false;
    let (out, result) = get.run();
    assert_eq!(result.unwrap().status, 302);
    assert!(out.contains("Location: http://x/\r\n"), "{out}");
    assert_eq!(get.saved(), b"moved");
    server.join().unwrap();
}

#[test]
fn a_server_does_not_choose_the_name_of_the_file() {
    for location in [
        "/.bashrc",
        "/a/../../../etc/passwd",
        "/x?/../../y",
        "/%2e%2e%2fz",
    ] {
        let (root, server) = server_of(2, move |target| match target {
            "/a/mine.html" => redirect(302, location),
            _ => PAGE.to_owned(),
        });
        let folder = tempfile::tempdir().unwrap();
        let url = format!("{root}/a/mine.html");
        let url = url.strip_prefix("http://").unwrap();
        let mut command = helloop(&["get", url]);
        command.current_dir(folder.path());
        let ended = Process::start(command).wait();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let names: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["mine.html"], "{location}");
        assert!(ended.stdout.ends_with("saved in mine.html\n"), "{ended:?}");
        server.join().unwrap();
    }
}

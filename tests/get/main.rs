//! `get` against scripted HTTP servers: each framing of a body, and each way to break it.
//!
//! Each server is a thread that reads one request and sends a scripted response. After every error
//! the folder is checked: an incomplete page must leave no file at all.

// Tests that need Unix are left out elsewhere.
#![cfg_attr(not(unix), allow(unused_imports))]

mod broken;
mod files;
mod redirects;
#[path = "../util/mod.rs"]
mod util;
mod whole;

use helloop::testing::client::Error;
use helloop::testing::client::http::{self, Options, ResponseError, Saved, Streams};
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tempfile::TempDir;
use util::TIMEOUT;

/// A timeout that a test waits for.
pub(crate) const SHORT_TIMEOUT: Duration = Duration::from_millis(300);

/// Runs a script as the server of one request, which the join handle returns.
pub(crate) fn server(
    script: impl FnOnce(&mut TcpStream) -> io::Result<()> + Send + 'static,
) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/a/page.html?q", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            request.push(byte[0]);
        }
        // Fails if the client closes early, as some tests expect.
        let _ = script(&mut stream);
        let _ = stream.shutdown(Shutdown::Write);
        let _ = io::copy(&mut stream, &mut io::sink());
        String::from_utf8(request).unwrap()
    });
    (url, server)
}

/// A server that sends this response and closes.
pub(crate) fn responding_server(response: impl Into<Vec<u8>>) -> (String, JoinHandle<String>) {
    let response = response.into();
    server(move |stream| stream.write_all(&response))
}

/// A folder for one page, and the options to fetch it into that folder.
pub(crate) struct Get {
    pub(crate) folder: TempDir,
    pub(crate) options: Options,
}

impl Get {
    pub(crate) fn new(url: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = Options {
            url: url.to_owned(),
            output: Some(folder.path().join("page")),
            force: false,
            follow: true,
            max_bytes: 1 << 20,
            timeout: TIMEOUT,
        };
        Self { folder, options }
    }

    pub(crate) fn run(&self) -> (String, Result<Saved, Error>) {
        let (head, _, result) = self.fetch(false);
        (head, result)
    }

    /// Fetches for a terminal, or not: the headers, what is written to standard output, the result.
    pub(crate) fn fetch(&self, escaped: bool) -> (String, Vec<u8>, Result<Saved, Error>) {
        let (mut head, mut body) = (Vec::new(), Vec::new());
        let mut streams = Streams {
            head: &mut head,
            head_escaped: escaped,
            body: &mut body,
            body_escaped: escaped,
            on_progress: &mut |_| {},
        };
        let result = http::run(&self.options, &mut streams);
        (String::from_utf8(head).unwrap(), body, result)
    }

    pub(crate) fn page(&self) -> PathBuf {
        self.folder.path().join("page")
    }

    pub(crate) fn saved(&self) -> Vec<u8> {
        assert_eq!(self.files(), ["page"], "the page and nothing else");
        fs::read(self.page()).unwrap()
    }

    /// All files, hidden ones included.
    pub(crate) fn files(&self) -> Vec<String> {
        let names = fs::read_dir(self.folder.path()).unwrap();
        names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }
}

/// The message of an error, which must be one line without control characters.
pub(crate) fn message_of(error: &Error) -> String {
    let message = error.to_string();
    assert!(!message.contains(char::is_control), "one line: {message:?}");
    message
}

/// Fetches a response that must be rejected; returns the error.
pub(crate) fn rejected(response: impl Into<Vec<u8>>) -> Error {
    let (url, server) = responding_server(response);
    let get = Get::new(&url);
    let error = get.run().1.unwrap_err();
    assert_eq!(get.files(), [""; 0], "{error}");
    assert_eq!(error.exit_code(), 1);
    server.join().unwrap();
    message_of(&error);
    error
}

#[track_caller]
pub(crate) fn assert_response_error(error: &Error, expected: &ResponseError) {
    assert!(
        matches!(error, Error::Response { source, .. } if source == expected),
        "{error:?} is not {expected:?}"
    );
}

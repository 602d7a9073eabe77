//! `get` against an HTTP server of the test's: each form of body, and each way to break one.
//!
//! Each server is a thread that reads one request and says what it is given. After every error the
//! folder is looked at: what is not a whole page must leave no file at all.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use helloop::client::http::{self, Fault, MAX_HEAD_BYTES, Options, Saved, UrlFault};
use helloop::client::{Error, Service};
use tempfile::TempDir;

/// Far more than any of this takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A time-out that is to be reached.
const SOON: Duration = Duration::from_millis(300);

/// Runs a script as the server of one request, which it is joined for.
fn server(
    script: impl FnOnce(&mut TcpStream) -> io::Result<()> + Send + 'static,
) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/a/page.html?q", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            request.push(byte[0]);
        }
        // The client may well leave before the end: that is what some tests are about.
        let _ = script(&mut stream);
        let _ = stream.shutdown(Shutdown::Write);
        let _ = io::copy(&mut stream, &mut io::sink());
        String::from_utf8(request).unwrap()
    });
    (url, server)
}

/// A server that says these bytes and closes.
fn say(response: impl Into<Vec<u8>>) -> (String, JoinHandle<String>) {
    let response = response.into();
    server(move |stream| stream.write_all(&response))
}

/// A folder for one page, and the options to fetch it there.
struct Get {
    folder: TempDir,
    options: Options,
}

impl Get {
    fn new(url: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = Options {
            url: url.to_owned(),
            output: Some(folder.path().join("page")),
            force: false,
            max_bytes: 1 << 20,
            timeout: PATIENCE,
        };
        Self { folder, options }
    }

    fn run(&self) -> (String, Result<Saved, Error>) {
        let mut out = Vec::new();
        let result = http::run(&self.options, &mut out, false);
        (String::from_utf8(out).unwrap(), result)
    }

    fn page(&self) -> PathBuf {
        self.folder.path().join("page")
    }

    fn saved(&self) -> Vec<u8> {
        assert_eq!(self.files(), ["page"], "the page and nothing else");
        fs::read(self.page()).unwrap()
    }

    /// Every file, hidden ones included.
    fn files(&self) -> Vec<String> {
        let names = fs::read_dir(self.folder.path()).unwrap();
        names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }
}

fn text(error: &Error) -> String {
    let text = error.to_string();
    assert!(!text.contains(char::is_control), "one line: {text:?}");
    text
}

/// Fetches a response that must not be believed; returns why it was not.
fn refused(response: impl Into<Vec<u8>>) -> Error {
    let (url, server) = say(response);
    let get = Get::new(&url);
    let error = get.run().1.unwrap_err();
    assert_eq!(get.files(), [""; 0], "{error}");
    assert_eq!(error.exit_code(), 1);
    server.join().unwrap();
    text(&error);
    error
}

#[track_caller]
fn assert_fault(error: &Error, expected: &Fault) {
    assert!(
        matches!(error, Error::Response { fault, .. } if fault == expected),
        "{error:?} is not {expected:?}"
    );
}

#[test]
fn each_form_of_body_is_saved_and_the_header_shown() {
    let page = "<html>\r\n\r\nnot the header's end</html>";
    let length = format!(
        "Content-Length: {}\r\n\r\n{page}and what is not asked for",
        page.len()
    );
    let chunked = format!(
        "Transfer-Encoding: chunked\r\n\r\n4\r\n{}\r\n{:X};x=\"y\"\r\n{}\r\n0\r\nA: b\r\n\r\n",
        &page[..4],
        page.len() - 4,
        &page[4..]
    );
    for rest in [length, chunked, format!("A: b\r\n\r\n{page}")] {
        let (header, _) = rest.split_once("\r\n\r\n").unwrap();
        let status = "HTTP/1.1 200 OK\r\n";
        let (url, server) = say(format!("{status}{rest}"));
        let get = Get::new(&url);
        let (out, result) = get.run();
        let saved = Saved {
            path: get.page(),
            bytes: page.len() as u64,
            status: 200,
        };
        assert_eq!(result.unwrap(), saved);
        assert_eq!(get.saved(), page.as_bytes());
        assert_eq!(out, format!("{status}{header}\r\n"));
        let request = server.join().unwrap();
        let host = url
            .strip_prefix("http://")
            .unwrap()
            .split('/')
            .next()
            .unwrap();
        let start = format!("GET /a/page.html?q HTTP/1.1\r\nHost: {host}\r\n");
        assert!(request.starts_with(&start), "{request}");
        assert!(request.contains("\r\nConnection: close\r\n"), "{request}");
        assert!(request.contains("\r\nUser-Agent: helloop/"), "{request}");
    }
}

#[test]
fn a_response_in_single_bytes_is_the_same() {
    let response = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\
        \r\n5\r\nhello\r\n0\r\n\r\n";
    let (url, server) = server(|stream| {
        stream.set_nodelay(true)?;
        response
            .bytes()
            .try_for_each(|byte| stream.write_all(&[byte]))
    });
    let get = Get::new(&url);
    let (out, result) = get.run();
    assert_eq!(result.unwrap().bytes, 5);
    assert_eq!(get.saved(), b"hello");
    assert!(out.starts_with("HTTP/1.1 200 OK\r\n"), "{out}");
    server.join().unwrap();
}

#[test]
fn a_body_that_is_complete_is_not_waited_for_to_close() {
    for (fields, body) in [
        ("Content-Length: 5\r\n", "hello"),
        ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
        ("Content-Length: 0\r\n", ""),
    ] {
        let (url, server) = server(move |stream| {
            write!(stream, "HTTP/1.1 200 OK\r\n{fields}\r\n{body}")?;
            // To the client's end: the server's own comes only after it.
            io::copy(stream, &mut io::sink()).map(drop)
        });
        let get = Get::new(&url);
        get.run().1.unwrap();
        server.join().unwrap();
    }
}

#[test]
fn a_large_body_is_saved_byte_for_byte() {
    let page: Vec<u8> = (0..1_u32 << 20)
        .map(|number| (number % 251) as u8)
        .collect();
    let mut response =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", page.len()).into_bytes();
    response.extend_from_slice(&page);
    let (url, server) = say(response);
    let get = Get::new(&url);
    get.run().1.unwrap();
    assert!(get.saved() == page);
    server.join().unwrap();
}

#[test]
fn a_status_without_a_body_waits_for_none() {
    for status in [204, 304] {
        let (url, server) = server(move |stream| {
            write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: 5\r\n\r\n")?;
            io::copy(stream, &mut io::sink()).map(drop)
        });
        let get = Get::new(&url);
        let saved = get.run().1.unwrap();
        assert_eq!((saved.status, saved.bytes), (status, 0));
        server.join().unwrap();
    }
}

#[test]
fn a_redirect_is_shown_and_not_followed() {
    let (url, server) = say("HTTP/1.1 302 Found\r\nLocation: http://x/\r\n\r\nmoved");
    let get = Get::new(&url);
    let (out, result) = get.run();
    assert_eq!(result.unwrap().status, 302);
    assert!(out.contains("Location: http://x/\r\n"), "{out}");
    assert_eq!(get.saved(), b"moved");
    server.join().unwrap();
}

#[test]
fn an_error_status_saves_its_body_and_exits_22() {
    for status in [400, 404, 503] {
        let (url, server) = say(format!(
            "HTTP/1.1 {status} X\r\nContent-Length: 4\r\n\r\ngone"
        ));
        let get = Get::new(&url);
        let (out, result) = get.run();
        let error = result.unwrap_err();
        assert!(
            matches!(&error, Error::Status { status: s, .. } if *s == status),
            "{error:?}"
        );
        assert_eq!(error.exit_code(), 22);
        assert!(text(&error).contains(&status.to_string()), "{error}");
        assert!(
            out.starts_with(&format!("HTTP/1.1 {status} X\r\n")),
            "{out}"
        );
        assert_eq!(get.saved(), b"gone");
        server.join().unwrap();
    }
}

#[test]
fn a_body_that_ends_short_leaves_no_file() {
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
        "HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nhell",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhell",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n9\r\nhello",
    ] {
        assert_fault(&refused(response), &Fault::BodyEndsShort);
    }
}

#[test]
fn a_reset_leaves_no_file() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // Without a length the end of input would be the body's, and a reset must not pass for it.
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhello").unwrap();
        let now = Some(Duration::ZERO);
        socket2::SockRef::from(&stream).set_linger(now).unwrap();
    });
    let get = Get::new(&url);
    let error = get.run().1.unwrap_err();
    assert!(matches!(error, Error::Network { .. }), "{error:?}");
    assert_eq!(get.files(), [""; 0]);
    server.join().unwrap();
}

#[test]
fn a_malformed_body_leaves_no_file() {
    for chunks in [
        "x\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "10000000000000000\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello!\r\n0\r\n\r\n",
        "5\nhello\n0\n\n",
    ] {
        let error = refused(format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"
        ));
        assert_fault(&error, &Fault::Chunk);
    }
    let endless = format!("5;{}", "x".repeat(http::MAX_CHUNK_LINE_BYTES));
    let error = refused(format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{endless}"
    ));
    assert_fault(&error, &Fault::ChunkLineTooLong);
}

#[test]
fn a_head_that_makes_no_sense_leaves_no_file() {
    let ok = "HTTP/1.1 200 OK\r\n";
    let lengths = format!("{ok}Content-Length: 5\r\nContent-Length: 4\r\n\r\nhello");
    assert_fault(&refused(lengths), &Fault::Length);
    let coding = format!("{ok}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n");
    assert_fault(&refused(coding), &Fault::Coding("gzip, chunked".to_owned()));
    assert_fault(&refused(ok), &Fault::HeadEndsShort);
    assert_fault(&refused(""), &Fault::HeadEndsShort);
    assert_fault(&refused("HTTP/1.1 101 Switching\r\n\r\n"), &Fault::Switched);
    let huge = format!("{ok}A: {}", "x".repeat(2 * MAX_HEAD_BYTES));
    assert_fault(&refused(huge), &Fault::HeadTooLong);
    let many = format!("{ok}{}\r\n", "A: b\r\n".repeat(http::MAX_HEADERS + 1));
    for response in [many.as_str(), "Welcome!", "SSH-2.0-OpenSSH\r\n", "\x1b[2J"] {
        let error = refused(response);
        let not_http = |fault: &Fault| matches!(fault, Fault::NotHttp(_));
        assert!(
            matches!(&error, Error::Response { fault, .. } if not_http(fault)),
            "{error:?}"
        );
    }
}

#[test]
fn the_size_limit_holds_in_each_form() {
    for (fields, body) in [
        ("Content-Length: 6\r\n", "hello!"),
        ("Content-Length: 18446744073709551615\r\n", "hello!"),
        (
            "Transfer-Encoding: chunked\r\n",
            "3\r\nhel\r\n3\r\nlo!\r\n0\r\n\r\n",
        ),
        ("", "hello!"),
    ] {
        let (url, server) = say(format!("HTTP/1.1 200 OK\r\n{fields}\r\n{body}"));
        let mut get = Get::new(&url);
        get.options.max_bytes = 5;
        let error = get.run().1.unwrap_err();
        assert!(
            matches!(error, Error::TooLarge { max_bytes: 5 }),
            "{error:?}"
        );
        assert!(text(&error).contains("--max-bytes"), "{error}");
        assert_eq!(get.files(), [""; 0]);
        server.join().unwrap();
    }
    let (url, server) = say("HTTP/1.1 200 OK\r\n\r\nhello");
    let mut get = Get::new(&url);
    get.options.max_bytes = 5;
    get.run().1.unwrap();
    server.join().unwrap();
}

#[test]
fn a_server_that_drips_or_is_silent_is_not_waited_for_for_ever() {
    for start in ["", "HTTP/1.1 200 OK\r\nA: ", "HTTP/1.1 200 OK\r\n\r\n"] {
        let (url, server) = server(move |stream| {
            stream.set_nodelay(true)?;
            stream.write_all(start.as_bytes())?;
            if start.is_empty() {
                return io::copy(stream, &mut io::sink()).map(drop);
            }
            let begin = Instant::now();
            while begin.elapsed() < PATIENCE {
                stream.write_all(b"x")?;
                thread::sleep(SOON / 20);
            }
            Ok(())
        });
        let mut get = Get::new(&url);
        get.options.timeout = SOON;
        let begin = Instant::now();
        let error = get.run().1.unwrap_err();
        assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");
        assert!(text(&error).contains("--timeout"), "{error}");
        assert!(begin.elapsed() < PATIENCE / 2, "{:?}", begin.elapsed());
        assert_eq!(get.files(), [""; 0]);
        server.join().unwrap();
    }
}

#[test]
fn a_file_that_exists_is_replaced_only_by_force() {
    // Nothing may be fetched for a file that cannot be saved: nobody listens here.
    let mut get = Get::new("http://127.0.0.1:1/");
    fs::write(get.page(), "old").unwrap();
    let error = get.run().1.unwrap_err();
    assert!(
        matches!(&error, Error::Exists(path) if *path == get.page()),
        "{error:?}"
    );
    assert!(text(&error).contains("--force"), "{error}");
    assert_eq!((get.saved(), error.exit_code()), (b"old".to_vec(), 1));

    let short = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    get.options.force = true;
    for (body, kept) in [("new", "old"), ("newer", "newer")] {
        let (url, server) = say(format!("{short}{body}"));
        get.options.url = url;
        assert_eq!(get.run().1.is_ok(), body == kept);
        assert_eq!(
            get.saved(),
            kept.as_bytes(),
            "a broken fetch leaves the old one"
        );
        server.join().unwrap();
    }
}

#[test]
fn a_file_that_appears_meanwhile_is_not_replaced() {
    let (url, server, folder) = {
        let folder = tempfile::tempdir().unwrap();
        let page = folder.path().join("page");
        let (url, server) = server(move |stream| {
            // By now the client has looked, and has seen no such file.
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
fn where_nothing_can_be_saved_nothing_is_fetched() {
    let mut get = Get::new("http://127.0.0.1:1/");
    for path in ["no-folder/page", "..", "."] {
        get.options.output = Some(get.folder.path().join(path));
        let error = get.run().1.unwrap_err();
        assert!(matches!(error, Error::Save { .. }), "{error:?}");
        assert_eq!((text(&error).is_empty(), error.exit_code()), (false, 1));
    }
}

#[test]
fn without_a_name_the_page_is_named_by_its_url() {
    // The one test that uses the working directory; all others name their files in full.
    let (url, server) = say("HTTP/1.1 200 OK\r\n\r\nhello");
    let mut get = Get::new(&url);
    std::env::set_current_dir(get.folder.path()).unwrap();
    get.options.output = None;
    assert_eq!(get.run().1.unwrap().path, Path::new("page.html"));
    assert_eq!(get.files(), ["page.html"]);
    server.join().unwrap();
}

#[test]
fn the_header_is_escaped_for_a_terminal() {
    let (url, server) = say(b"HTTP/1.1 200 OK\r\nX: \xff\xc2\x9b31m \xe6\x96\xb0\r\n\r\n".to_vec());
    let get = Get::new(&url);
    let mut out = Vec::new();
    http::run(&get.options, &mut out, true).unwrap();
    let shown = "HTTP/1.1 200 OK\nX: \\xff\\u{9b}31m 新\n";
    assert_eq!(String::from_utf8(out).unwrap(), shown);
    server.join().unwrap();
}

#[test]
fn a_url_that_is_not_fetched_says_why() {
    for (url, expected, word) in [
        ("https://h/", UrlFault::Encrypted, "TLS"),
        ("ftp://h/", UrlFault::Scheme, "http://"),
        ("h/page", UrlFault::NoScheme, "http://"),
        ("http://me:secret@h/", UrlFault::User, "user name"),
        ("http://h/ HTTP/1.1\r\nX: y", UrlFault::Character, "%XX"),
    ] {
        let error = Get::new(url).run().1.unwrap_err();
        assert!(
            matches!(&error, Error::Url(fault) if *fault == expected),
            "{error:?}"
        );
        assert!(text(&error).contains(word), "{error}");
        assert!(!text(&error).contains("secret"), "{error}");
        assert_eq!(error.exit_code(), 1);
    }
}

#[test]
fn an_ipv6_literal_is_reached() {
    // Where the machine has no IPv6 there is nothing to test.
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        return;
    };
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 1_024];
        let count = stream.read(&mut request).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhello").unwrap();
        String::from_utf8_lossy(&request[..count]).into_owned()
    });
    let get = Get::new(&format!("http://{address}/"));
    get.run().1.unwrap();
    let host = format!("\r\nHost: {address}\r\n");
    let request = server.join().unwrap();
    assert!(request.contains(&host), "{request}");
}

#[test]
fn a_refused_port_is_told() {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let get = Get::new(&format!("http://{address}/"));
    let error = get.run().1.unwrap_err();
    let service = Service::Http;
    assert!(
        matches!(&error, Error::Refused { service: s, .. } if *s == service),
        "{error:?}"
    );
    assert!(text(&error).contains(&address.to_string()), "{error}");
    assert_eq!(get.files(), [""; 0]);
}

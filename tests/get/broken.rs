//! Invalid and incomplete responses, servers that send none, and URLs that are not fetched.

use crate::util::{TIMEOUT, refusing_port};
use crate::{
    Get, SHORT_TIMEOUT, assert_response_error, message_of, rejected, responding_server, server,
};
use helloop::testing::client::http::{self, MAX_HEAD_BYTES, ResponseError, UrlError};
use helloop::testing::client::{Error, Service};
use std::io::{self, Write};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn a_truncated_body_leaves_no_file() {
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhell",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n9\r\nhello",
    ] {
        assert_response_error(&rejected(response), &ResponseError::BodyTruncated);
    }
}

#[test]
#[cfg_attr(windows, ignore = "under Wine the peer reads EOF before the reset")]
fn a_reset_leaves_no_file() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // Without a length EOF ends the body, and a reset must not be taken for EOF.
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
        let error = rejected(format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"
        ));
        assert_response_error(&error, &ResponseError::InvalidChunk);
    }
    let endless = format!("5;{}", "x".repeat(http::MAX_CHUNK_LINE_BYTES));
    let error = rejected(format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{endless}"
    ));
    assert_response_error(&error, &ResponseError::ChunkLineTooLong);
}

#[test]
fn an_invalid_head_leaves_no_file() {
    let ok = "HTTP/1.1 200 OK\r\n";
    let lengths = format!("{ok}Content-Length: 5\r\nContent-Length: 4\r\n\r\nhello");
    assert_response_error(&rejected(lengths), &ResponseError::InvalidLength);
    let coding = format!("{ok}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n");
    assert_response_error(
        &rejected(coding),
        &ResponseError::UnsupportedCoding("gzip, chunked".to_owned()),
    );
    assert_response_error(&rejected(ok), &ResponseError::HeadTruncated);
    assert_response_error(&rejected(""), &ResponseError::HeadTruncated);
    assert_response_error(
        &rejected("HTTP/1.1 101 Switching\r\n\r\n"),
        &ResponseError::SwitchedProtocols,
    );
    let huge = format!("{ok}A: {}", "x".repeat(2 * MAX_HEAD_BYTES));
    assert_response_error(&rejected(huge), &ResponseError::HeadTooLong);
    let many = format!("{ok}{}\r\n", "A: b\r\n".repeat(http::MAX_HEADERS + 1));
    let error = rejected(many);
    assert_response_error(&error, &ResponseError::TooManyHeaders);
    assert!(
        message_of(&error).contains("more than 256 fields"),
        "{error}"
    );
    for response in ["Welcome!", "SSH-2.0-OpenSSH\r\n", "\x1b[2J"] {
        let error = rejected(response);
        assert!(
            matches!(
                &error,
                Error::Response {
                    source: ResponseError::NotHttp(_),
                    ..
                }
            ),
            "{error:?}"
        );
    }
}

#[test]
fn the_size_limit_holds_in_each_framing() {
    for (fields, body) in [
        ("Content-Length: 6\r\n", "hello!"),
        ("Content-Length: 18446744073709551615\r\n", "hello!"),
        (
            "Transfer-Encoding: chunked\r\n",
            "3\r\nhel\r\n3\r\nlo!\r\n0\r\n\r\n",
        ),
        ("", "hello!"),
    ] {
        let (url, server) = responding_server(format!("HTTP/1.1 200 OK\r\n{fields}\r\n{body}"));
        let mut get = Get::new(&url);
        get.options.max_bytes = 5;
        let error = get.run().1.unwrap_err();
        assert!(
            matches!(error, Error::TooLarge { max_bytes: 5 }),
            "{error:?}"
        );
        assert!(message_of(&error).contains("--max-bytes"), "{error}");
        assert_eq!(get.files(), [""; 0]);
        server.join().unwrap();
    }
    let (url, server) = responding_server("HTTP/1.1 200 OK\r\n\r\nhello");
    let mut get = Get::new(&url);
    get.options.max_bytes = 5;
    get.run().1.unwrap();
    server.join().unwrap();
}

#[test]
fn a_silent_or_slow_server_is_a_timeout() {
    for start in ["", "HTTP/1.1 200 OK\r\nA: ", "HTTP/1.1 200 OK\r\n\r\n"] {
        let (url, server) = server(move |stream| {
            stream.set_nodelay(true)?;
            stream.write_all(start.as_bytes())?;
            if start.is_empty() {
                return io::copy(stream, &mut io::sink()).map(drop);
            }
            let begin = Instant::now();
            while begin.elapsed() < TIMEOUT {
                stream.write_all(b"x")?;
                thread::sleep(SHORT_TIMEOUT / 20);
            }
            Ok(())
        });
        let mut get = Get::new(&url);
        get.options.timeout = SHORT_TIMEOUT;
        let begin = Instant::now();
        let error = get.run().1.unwrap_err();
        assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");
        assert!(message_of(&error).contains("--timeout"), "{error}");
        assert!(begin.elapsed() < TIMEOUT / 2, "{:?}", begin.elapsed());
        assert_eq!(get.files(), [""; 0]);
        server.join().unwrap();
    }
}

#[test]
fn a_refused_connect_is_an_error() {
    let (_bound, address) = refusing_port();
    let get = Get::new(&format!("http://{address}/"));
    let error = get.run().1.unwrap_err();
    assert!(
        matches!(error, Error::Refused { service, .. } if service == Service::Http),
        "{error:?}"
    );
    assert!(message_of(&error).contains(&address.to_string()), "{error}");
    assert_eq!(get.files(), [""; 0]);
}

#[test]
fn an_unsupported_url_is_an_error_with_its_reason() {
    for (url, expected, word) in [
        ("https://h/", UrlError::Encrypted, "TLS"),
        ("ftp://h/", UrlError::Scheme, "http://"),
        ("http:/h/page", UrlError::NoSlashes, "http://"),
        ("http://me:secret@h/", UrlError::User, "user name"),
        ("http://h/ HTTP/1.1\r\nX: y", UrlError::Character, "%XX"),
    ] {
        let error = Get::new(url).run().1.unwrap_err();
        assert!(
            matches!(&error, Error::Url(source) if *source == expected),
            "{error:?}"
        );
        assert!(message_of(&error).contains(word), "{error}");
        assert!(!message_of(&error).contains("secret"), "{error}");
        assert_eq!(error.exit_code(), 2);
    }
}

#[test]
fn a_part_of_a_page_is_not_taken_for_the_page() {
    let error = rejected(
        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-3/9\r\n\
         Content-Length: 4\r\n\r\nhalf",
    );
    assert_response_error(&error, &ResponseError::Partial);
}

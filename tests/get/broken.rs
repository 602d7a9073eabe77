//! Responses that must not be believed, and servers that give none.

use crate::{Get, PATIENCE, SOON, assert_fault, refused, say, server, text};
use helloop::client::http::{self, Fault, MAX_HEAD_BYTES, UrlFault};
use helloop::client::{Error, Service};
use std::io::{self, Write};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

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

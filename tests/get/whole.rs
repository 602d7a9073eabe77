//! Complete responses, in each framing.

use crate::{Get, message_of, responding_server, server};
use helloop::testing::client::Error;
use helloop::testing::client::http::{MAX_HEADERS, Place, Saved};
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::thread;

#[test]
fn a_body_in_each_framing_is_saved_and_the_header_printed() {
    let page = "<html>\r\n\r\nnot the header's end</html>";
    let length = format!(
        "Content-Length: {}\r\n\r\n{page}and more than the length",
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
        let (url, server) = responding_server(format!("{status}{rest}"));
        let get = Get::new(&url);
        let (out, result) = get.run();
        let saved = Saved {
            place: Place::File(get.page()),
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
fn a_response_may_arrive_byte_by_byte() {
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
fn a_complete_body_does_not_wait_for_eof() {
    for (fields, body) in [
        ("Content-Length: 5\r\n", "hello"),
        ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
        ("Content-Length: 0\r\n", ""),
    ] {
        let (url, server) = server(move |stream| {
            write!(stream, "HTTP/1.1 200 OK\r\n{fields}\r\n{body}")?;
            // Reads until EOF, so that the server closes only after the client.
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
    let (url, server) = responding_server(response);
    let get = Get::new(&url);
    get.run().1.unwrap();
    assert!(get.saved() == page);
    server.join().unwrap();
}

#[test]
fn a_status_without_a_body_does_not_wait_for_one() {
    for status in [204, 205] {
        let (url, server) = server(move |stream| {
            write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: 5\r\n\r\n")?;
            io::copy(stream, &mut io::sink()).map(drop)
        });
        let get = Get::new(&url);
        let saved = get.run().1.unwrap();
        assert_eq!((saved.status, saved.bytes), (status, 0));
        assert_eq!((saved.place, get.files()), (Place::Nowhere, Vec::new()));
        server.join().unwrap();
    }
}

#[test]
fn an_error_status_says_which_and_exits_22() {
    // RFC 9110, section 15: an invalid status counts as an error of the server.
    for (status, code) in [
        (400, 22),
        (404, 22),
        (503, 22),
        (999, 22),
        (0, 22),
        (99, 22),
        (304, 1),
    ] {
        let (url, server) = responding_server(format!(
            "HTTP/1.1 {status:03} X\r\nContent-Length: 4\r\n\r\ngone"
        ));
        let get = Get::new(&url);
        let (out, result) = get.run();
        let error = result.unwrap_err();
        assert!(
            matches!(&error, Error::Status { status: s, .. } if *s == status),
            "{error:?}"
        );
        assert_eq!(error.exit_code(), code);
        let said = format!("answered with status {status:03}");
        assert!(message_of(&error).contains(&said), "{error}");
        let start = format!("HTTP/1.1 {status:03} X\r\n");
        assert!(out.starts_with(&start), "{out}");
        server.join().unwrap();
    }
}

#[test]
fn many_header_fields_are_legal() {
    let fields = "A: b\r\n".repeat(MAX_HEADERS);
    let (url, server) = responding_server(format!("HTTP/1.1 200 OK\r\n{fields}\r\nhello"));
    let get = Get::new(&url);
    get.run().1.unwrap();
    assert_eq!(get.saved(), b"hello");
    server.join().unwrap();
}

#[test]
fn the_header_is_escaped_for_a_terminal() {
    let (url, server) =
        responding_server(b"HTTP/1.1 200 OK\r\nX: \xff\xc2\x9b31m \xe6\x96\xb0\r\n\r\n".to_vec());
    let get = Get::new(&url);
    let (out, _, result) = get.fetch(true);
    result.unwrap();
    let expected = "HTTP/1.1 200 OK\nX: \\xff\\u{9b}31m 新\n";
    assert_eq!(out, expected);
    server.join().unwrap();
}

#[test]
fn an_ipv6_literal_is_reached() {
    // Without IPv6 on this machine there is nothing to test.
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

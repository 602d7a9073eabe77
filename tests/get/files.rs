//! Where a page is saved, and what is never overwritten.

use crate::{Get, say, server, text};
use helloop::client::Error;
use std::fs;
use std::io::Write;
use std::path::Path;

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

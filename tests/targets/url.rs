//! Fuzz target: the URL of a page. What it admits can neither end a line of the request nor leave
//! the working directory, and is the same URL when it is put together again.

use helloop::testing::client::http::Url;

pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    let Ok(url) = Url::parse(text) else {
        return;
    };
    let parts = [&url.host, &url.target, &url.host_field(), &url.address()];
    for part in parts {
        assert!(!part.is_empty() && part.bytes().all(|byte| byte.is_ascii_graphic()));
    }
    assert!(url.target.starts_with('/') && !url.target.contains('#'));
    assert!(!url.host.contains(['/', '@', '[', ']', '?']) && url.port != 0);
    let file = url.file_name();
    assert!(!file.is_empty() && file != "." && file != ".." && !file.contains('/'));
    for authority in [url.host_field(), url.address()] {
        let again = Url::parse(&format!("http://{authority}{}", url.target));
        assert_eq!(again.as_ref(), Ok(&url));
    }
}

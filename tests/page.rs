//! The page in a real browser. These tests need Chromium and chromedriver, and some of them axe-core, so
//! they are ignored by default. To run them: `cargo test --test page -- --ignored --test-threads 1`.

// The browser and its driver run on Linux.
#![cfg(unix)]

mod browser;
#[path = "page/colours.rs"]
mod colours;
mod http;
#[path = "page/load.rs"]
mod load;
#[path = "page/paused.rs"]
mod paused;
#[path = "page/people.rs"]
mod people;
mod util;

use browser::Browser;
use http::observe_address;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use util::{Process, Server, SetOnDrop, helloop};

/// Connected clients.
struct Clients(Vec<TcpStream>);

impl Clients {
    fn connect(server: &Server, count: usize) -> Self {
        Self((0..count).map(|_| server.connect()).collect())
    }

    /// Each client sends a name and reads the reply.
    fn greet_all(&mut self) {
        Self::greet(&mut self.0);
    }

    /// Until `work` is done, groups of clients are greeted in turn.
    fn greet_while(&mut self, work: impl FnOnce()) {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let group = (self.0.len() / 20).max(1);
                let mut groups = (0..20).cycle();
                while !done.load(Ordering::Relaxed) {
                    let start = groups.next().unwrap() * group;
                    Self::greet(&mut self.0[start..start + group]);
                }
            });
            // Also if `work` fails, so that its failure is seen.
            let _end = SetOnDrop(&done);
            work();
        });
    }

    fn greet(clients: &mut [TcpStream]) {
        for client in &mut *clients {
            client.write_all(b"Ada").unwrap();
        }
        for client in clients {
            let mut reply = [0; 11];
            client.read_exact(&mut reply).unwrap();
            assert_eq!(&reply, b"Hello, Ada!");
        }
    }
}

fn open(server: &Server, dark: bool) -> Browser {
    let browser = Browser::start(1_400, 1_000, dark);
    browser.open(&format!("http://{}/", observe_address(server)));
    browser.wait_for("document.body.dataset.state === 'live'");
    browser
}

fn start(flags: &[&str]) -> Server {
    Server::start(&[&["--observe", "127.0.0.1:0"], flags].concat())
}

#[test]
#[ignore = "needs a browser"]
fn cells_change_and_rates_move_under_load() {
    let server = start(&[]);
    let browser = open(&server, false);
    browser.wait_for("document.getElementById('count-listener').textContent === '1'");
    assert_eq!(browser.number("count-waiting"), 0.0);
    browser.screenshot("idle");
    let mut clients = Clients::connect(&server, 300);
    browser.wait_for("document.getElementById('count-waiting').textContent === '300'");
    browser.wait_for("document.getElementById('figure-clients').textContent === '300'");
    // Rates change under load.
    while browser.number("figure-messages") == 0.0 {
        clients.greet_all();
    }
    assert!(browser.number("figure-turns") > 0.0);
    assert!(browser.text("turn-note").starts_with("the last "));
    assert!(
        browser
            .text("scale")
            .starts_with("Linear time: one division is ")
    );
    clients.greet_while(|| browser.screenshot("300"));
    // Abandoned slots are shown as free. Slots in use again show their generation.
    clients.0.truncate(200);
    browser.wait_for("Number(document.getElementById('count-free').textContent) >= 100");
    clients.0.extend(Clients::connect(&server, 50).0);
    browser.wait_for("document.getElementById('count-waiting').textContent === '250'");
    browser.wait_for("/reused/.test(document.getElementById('slab-note').textContent)");
    browser.screenshot("reused");
}

#[test]
#[ignore = "needs a browser"]
fn each_state_is_counted_separately() {
    let server = start(&["--delay", "3s"]);
    let browser = open(&server, true);
    let mut clients = Clients::connect(&server, 120);
    for client in clients.0.iter_mut().step_by(3) {
        client.write_all(b"Ada").unwrap();
    }
    browser.wait_for("document.getElementById('count-held').textContent === '40'");
    assert_eq!(browser.number("count-waiting"), 80.0);
    browser.screenshot("held-dark");
    browser.wait_for("document.getElementById('count-held').textContent === '0'");
}

/// Microseconds of load until the graphs of the page have some width.
const GRAPHS_US: u64 = 20_000_000;

/// A busy server with slots in many states. With `HELLOOP_SCREENSHOTS=src/observe` this takes the
/// screenshot of the README; `pngquant --force --ext .png 256 src/observe/page.png` compresses it.
#[test]
#[ignore = "needs a browser"]
fn the_picture_of_the_readme() {
    let server = start(&["--delay", "1s"]);
    let browser = Browser::start(1_200, 1_590, false);
    browser.open(&format!("http://{}/", observe_address(&server)));
    browser.wait_for("document.body.dataset.state === 'live'");
    let mut clients = Clients::connect(&server, 120);
    browser.wait_for("document.getElementById('count-waiting').textContent === '120'");
    // Some clients leave, and their slots are reused.
    clients.0.truncate(60);
    browser.wait_for("Number(document.getElementById('count-free').textContent) >= 60");
    let to = server.tcp_address().to_string();
    let load = |flags: &[&str]| {
        let load = ["stress", "--to", &to, "--duration", "10m", "--warmup", "0s"];
        Process::start(helloop(&[&load[..], flags].concat()))
    };
    let _chunks = load(&["--clients", "300", "--rate", "100"]);
    let _datagrams = load(&["--udp", "--clients", "10", "--rate", "300"]);
    browser.wait_for("document.getElementById('count-waiting').textContent > '0'");
    let begun = browser.run("return shown.at").as_f64().unwrap();
    browser.wait_for(&format!("shown.at > {begun} + {GRAPHS_US}"));
    // Some clients send exit and stay connected; others disconnect.
    for client in clients.0.iter_mut().skip(35) {
        client.write_all(b"exit").unwrap();
    }
    clients.0.drain(..15);
    browser.wait_for("document.getElementById('count-lingering').textContent === '25'");
    let held = browser
        .run("return codes.lastIndexOf(LETTERS.indexOf('h'))")
        .as_i64()
        .unwrap();
    point_at_slot(&browser, held);
    browser.wait_for("/read 16 B/.test(document.getElementById('history').textContent)");
    browser.screenshot("page");
    for (state, least) in [
        ("waiting", 150.0),
        ("held", 50.0),
        ("lingering", 1.0),
        ("free", 10.0),
    ] {
        assert!(
            browser.number(&format!("count-{state}")) >= least,
            "{state}"
        );
    }
    assert!(browser.number("figure-datagrams") > 0.0);
}

/// The middle of a slot's cell in the window, after scrolling to it if need be.
fn place_of_slot(browser: &Browser, slot: i64) -> (f64, f64) {
    let place = browser.run(&format!(
        "const grid = document.getElementById('grid'); \
         const y = (Math.floor({slot} / cell.columns) + .5) * cell.size; \
         const top = grid.getBoundingClientRect().top + y; \
         if (top < 0 || top >= innerHeight) scrollBy(0, top - innerHeight / 2); \
         const box = grid.getBoundingClientRect(); \
         return [box.left + ({slot} % cell.columns + .5) * cell.size, box.top + y]"
    ));
    (place[0].as_f64().unwrap(), place[1].as_f64().unwrap())
}

fn point_at_slot(browser: &Browser, slot: i64) {
    let (x, y) = place_of_slot(browser, slot);
    browser.point(x, y);
}

//! A real browser: headless Chromium, controlled through chromedriver by the part of the WebDriver
//! protocol (<https://www.w3.org/TR/webdriver2/>) that the tests of the page need.

#![allow(dead_code, unreachable_pub)]

mod axe;
mod emulate;

use crate::util::{Process, TIMEOUT};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The interval at which a condition on the page is polled.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Chromium's flags: no window, no sandbox, no connection to other machines.
const FLAGS: [&str; 10] = [
    "--headless",
    "--hide-scrollbars",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
];

/// A browser with one window, closed on drop.
#[derive(Debug)]
pub struct Browser {
    driver: Process,
    port: u16,
    session: String,
    _profile: TempDir,
}

impl Browser {
    /// Starts a browser with an empty profile and a window of the given size.
    #[track_caller]
    pub fn start(width: u32, height: u32, dark: bool) -> Self {
        let (driver, port) = start_driver();
        let profile = tempfile::tempdir().unwrap();
        let mut flags: Vec<String> = FLAGS.iter().map(|&flag| flag.to_owned()).collect();
        flags.push(format!("--window-size={width},{height}"));
        flags.push(format!("--user-data-dir={}", profile.path().display()));
        if dark {
            flags.push("--blink-settings=preferredColorScheme=0".to_owned());
        }
        let mut browser = Self {
            driver,
            port,
            session: String::new(),
            _profile: profile,
        };
        let options = json!({ "args": flags, "binary": "/usr/bin/chromium" });
        let wanted =
            json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": options } } });
        let created = browser.ask("POST", "/session", Some(&wanted));
        browser.session = created["sessionId"].as_str().unwrap().to_owned();
        browser
    }

    /// Sends a command of the Chrome DevTools Protocol.
    #[track_caller]
    pub fn devtools(&self, command: &str, parameters: &Value) {
        self.command(
            "goog/cdp/execute",
            &json!({ "cmd": command, "params": parameters }),
        );
    }

    /// Changes what the page sees of the screen: its size, as on a phone, and the colour scheme.
    #[track_caller]
    pub fn emulate(&self, width: u32, height: u32, dark: bool) {
        let screen = json!({ "width": width, "height": height, "deviceScaleFactor": 1,
            "mobile": width < 600 });
        self.devtools("Emulation.setDeviceMetricsOverride", &screen);
        let scheme = if dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.devtools(
            "Emulation.setEmulatedMedia",
            &json!({ "features": features }),
        );
    }

    /// The driver's process: the browser's are its descendants.
    pub fn driver_id(&self) -> u32 {
        self.driver.id()
    }

    /// Opens a page.
    #[track_caller]
    pub fn open(&self, url: &str) {
        self.command("url", &json!({ "url": url }));
    }

    /// Runs a function body in the page and returns its result.
    #[track_caller]
    pub fn run(&self, script: &str) -> Value {
        self.command("execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Runs a function body in the page and returns what it passes to its last argument, a function.
    #[track_caller]
    pub fn run_async(&self, script: &str) -> Value {
        self.command("execute/async", &json!({ "script": script, "args": [] }))
    }

    /// The text of the element with this id.
    #[track_caller]
    pub fn text(&self, id: &str) -> String {
        let script = format!("return document.getElementById({id:?}).textContent");
        self.run(&script).as_str().unwrap().to_owned()
    }

    /// The number in the text of the element with this id.
    #[track_caller]
    pub fn number(&self, id: &str) -> f64 {
        let text = self.text(id);
        let digits: String = text
            .chars()
            .filter(|character| character.is_ascii_digit() || *character == '.')
            .collect();
        digits.parse().unwrap_or(0.0)
    }

    /// Waits until this expression is true in the page.
    #[track_caller]
    pub fn wait_for(&self, expression: &str) {
        let deadline = Instant::now() + TIMEOUT;
        while self.run(&format!("return Boolean({expression})")) != true {
            let page = "return document.body.innerText";
            assert!(
                Instant::now() < deadline,
                "not {expression} in {}",
                self.run(page)
            );
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Clicks the element with this id.
    #[track_caller]
    pub fn click(&self, id: &str) {
        let found = self.command(
            "element",
            &json!({ "using": "css selector", "value": format!("#{id}") }),
        );
        let element = found.as_object().unwrap().values().next().unwrap();
        let element = element.as_str().unwrap();
        self.command(&format!("element/{element}/click"), &json!({}));
    }

    /// Moves the pointer to this position in the window.
    #[track_caller]
    pub fn point(&self, x: f64, y: f64) {
        let place = json!({ "type": "pointerMove", "duration": 0, "x": x as i64, "y": y as i64 });
        let actions = json!({ "actions": [
            { "type": "pointer", "id": "mouse", "actions": [place] },
        ] });
        self.command("actions", &actions);
    }

    /// Clicks at this position with the mouse.
    #[track_caller]
    pub fn click_at(&self, x: f64, y: f64) {
        self.point_and_press("mouse", x, y);
    }

    /// Taps at this position with a finger.
    #[track_caller]
    pub fn tap(&self, x: f64, y: f64) {
        self.point_and_press("touch", x, y);
    }

    fn point_and_press(&self, pointer: &str, x: f64, y: f64) {
        let place = json!({ "type": "pointerMove", "duration": 0, "x": x as i64, "y": y as i64 });
        let down = json!({ "type": "pointerDown", "button": 0 });
        let up = json!({ "type": "pointerUp", "button": 0 });
        let actions = json!({ "actions": [{ "type": "pointer", "id": pointer,
            "parameters": { "pointerType": pointer }, "actions": [place, down, up] }] });
        self.command("actions", &actions);
    }

    /// Presses a key with Shift.
    #[track_caller]
    pub fn press_shifted(&self, key: &str) {
        const SHIFT: &str = "\u{e008}";
        let actions = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": [
            { "type": "keyDown", "value": SHIFT },
            { "type": "keyDown", "value": key }, { "type": "keyUp", "value": key },
            { "type": "keyUp", "value": SHIFT },
        ] }] });
        self.command("actions", &actions);
    }

    /// Presses a key.
    #[track_caller]
    pub fn press(&self, key: &str) {
        let actions = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": [
            { "type": "keyDown", "value": key }, { "type": "keyUp", "value": key },
        ] }] });
        self.command("actions", &actions);
    }

    /// Saves a screenshot as a PNG, if HELLOOP_SCREENSHOTS names a directory for it.
    #[track_caller]
    pub fn screenshot(&self, name: &str) {
        let Some(folder) = std::env::var_os("HELLOOP_SCREENSHOTS") else {
            return;
        };
        let path = format!("/session/{}/screenshot", self.session);
        let encoded = self.ask("GET", &path, None);
        let image = from_base64(encoded.as_str().unwrap());
        std::fs::write(Path::new(&folder).join(name).with_extension("png"), image).unwrap();
    }

    fn command(&self, name: &str, parameters: &Value) -> Value {
        let path = format!("/session/{}/{name}", self.session);
        self.ask("POST", &path, Some(parameters))
    }

    #[track_caller]
    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        let body = body.map_or_else(String::new, Value::to_string);
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\
             Content-Type: application/json; charset=utf-8\r\nContent-Length: {}\r\n\r\n",
            self.port,
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).unwrap();
        let answer = crate::http::read_response(&mut stream);
        let value: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(answer.status, 200, "{method} {path}: {value}");
        value["value"].clone()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Deleting the session ends the browser, which is the driver's child, not ours.
        let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) else {
            return;
        };
        let _ = stream.set_read_timeout(Some(TIMEOUT));
        let _ = write!(
            stream,
            "DELETE /session/{} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
            self.session
        );
        let _ = stream.read(&mut [0; 1_024]);
    }
}

/// Starts the driver on a free port. With port 0 it would pick a free port of IPv6, and exit if the
/// same port is in use in IPv4.
fn start_driver() -> (Process, u16) {
    for _ in 0..10 {
        let port = crate::util::free_address().port();
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={port}"));
        let driver = Process::start(command);
        if driver.stdout.appears("started successfully") {
            return (driver, port);
        }
    }
    panic!("chromedriver did not start on any of 10 ports");
}

fn from_base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for byte in text.bytes().filter(|byte| *byte != b'=') {
        let value = ALPHABET.iter().position(|known| *known == byte).unwrap();
        bits = (bits << 6) | value as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    bytes
}

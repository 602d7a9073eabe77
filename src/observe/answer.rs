//! EventKind is where.
//!
//! **Owns** the paths, and the answers to them. **Must never touch** a connection.
//! **Invariant**: every path and every status has an answer that a person can read.

use super::http::{self, After, Method, Request, Status};
use super::requests::Question;

/// Nothing but what this server itself serves may be loaded, run or asked by the page, nothing
/// may frame it, and it sends no forms (CSP level 3).
const POLICY: &str = "Content-Security-Policy: default-src 'none'; script-src 'self'; \
    style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'\r\n";

/// EventKind a person reads in a terminal.
const PLAIN: &str = "text/plain; charset=utf-8";

/// An answer that is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response<'a> {
    /// EventKind it says first.
    pub status: Status,
    /// EventKind its body is.
    pub content_type: &'static str,
    /// Its body.
    pub body: &'a [u8],
}

/// How a request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// At once.
    Respond(Response<'static>),
    /// When the program has told.
    Ask(Question),
    /// With a stream of snapshots.
    Stream,
}

/// Finds the answer.
#[must_use]
pub fn route(request: &Request, is_serving: bool) -> Route {
    let reply = match request.path.as_str() {
        "/" => now("text/html; charset=utf-8", include_str!("page.html")),
        "/page.css" => now("text/css; charset=utf-8", include_str!("page.css")),
        "/page.js" => now("text/javascript; charset=utf-8", include_str!("page.js")),
        "/healthz" if is_serving => now(PLAIN, "serving\n"),
        "/healthz" => Route::Respond(Response {
            body: b"draining\n",
            ..Response::of(Status::Unavailable)
        }),
        "/metrics" => Route::Ask(Question::Metrics),
        "/events" => Route::Stream,
        path => match path.strip_prefix("/slots/").map(str::parse) {
            Some(Ok(slot)) => Route::Ask(Question::Story(slot)),
            _ => return Route::Respond(Response::of(Status::NotFound)),
        },
    };
    if request.method == Method::Other {
        return Route::Respond(Response::of(Status::MethodNotAllowed));
    }
    reply
}

fn now(content_type: &'static str, body: &'static str) -> Route {
    Route::Respond(Response {
        status: Status::Ok,
        content_type,
        body: body.as_bytes(),
    })
}

/// How a stream of snapshots begins: server-sent events, of which a browser that lost the
/// server asks for more after a second.
#[must_use]
pub fn stream_head() -> String {
    http::head(Status::Ok, "text/event-stream", None, After::Close, "") + "retry: 1000\n\n"
}

impl<'a> Response<'a> {
    /// The answer that is no more than its status.
    #[must_use]
    pub fn of(status: Status) -> Self {
        let body: &[u8] = match status {
            Status::Ok => b"ok\n",
            Status::BadRequest => b"400: that is no request of HTTP/1.1\n",
            Status::NotFound => b"404: there are / /events /metrics /healthz and /slots/N\n",
            Status::MethodNotAllowed => b"405: one can only look here: GET or HEAD\n",
            Status::RequestTimeout => b"408: the request took too long to come\n",
            Status::UriTooLong => b"414: the path is too long\n",
            Status::HeadTooLarge => b"431: the request's head is too large\n",
            Status::Unavailable => b"503: there are as many observers as there may be\n",
            Status::VersionNotSupported => b"505: HTTP/1.1 or 1.0 is spoken here\n",
        };
        Self {
            status,
            content_type: PLAIN,
            body,
        }
    }

    /// The answer that the program gave.
    #[must_use]
    pub fn to(question: Question, body: &'a [u8]) -> Self {
        Self {
            status: Status::Ok,
            content_type: match question {
                Question::Metrics => super::metrics::CONTENT_TYPE,
                Question::Snapshot => "text/event-stream",
                Question::Story(_) => "application/json",
            },
            body,
        }
    }

    /// How it begins.
    #[must_use]
    pub fn head(&self, after: After) -> String {
        let policy = if self.content_type.starts_with("text/html") {
            POLICY
        } else {
            ""
        };
        let length = Some(self.body.len());
        http::head(self.status, self.content_type, length, after, policy)
    }
}

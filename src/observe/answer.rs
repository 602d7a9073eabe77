//! The paths that observers can request, and the responses.
//!
//! **Owns** the routes and the text of each response. **Must never touch** a connection.
//! **Invariant**: every path and every status has a response that a person can read.

use super::http::{self, After, Method, Request, Status};
use super::requests::Question;

/// The page may load, run and connect to nothing but this server's own resources, may not be
/// framed, and sends no forms (CSP level 3).
const POLICY: &str = "Content-Security-Policy: default-src 'none'; script-src 'self'; \
    style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'\r\n";

/// The script of the page. Its parts share one scope; the last one runs it.
const SCRIPT: &str = concat!(
    include_str!("page/format.js"),
    include_str!("page/figures.js"),
    include_str!("page/slab.js"),
    include_str!("page/loop.js"),
    include_str!("page/history.js"),
    include_str!("page/paused.js"),
    include_str!("page/page.js"),
);

const PLAIN: &str = "text/plain; charset=utf-8";

const HEALTH_PATH: &str = "/healthz";

/// A complete response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Response<'a> {
    status: Status,
    content_type: &'static str,
    pub(crate) body: &'a [u8],
}

/// How a request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// With this response, at once.
    Respond(Response<'static>),
    /// With what the program answers to this question between turns.
    Ask(Question),
    /// With a stream of snapshots.
    Stream,
}

/// Decides how a request is answered. `names` are those by which this server may be addressed. The
/// health check is for load balancers, which may send any name or none, and reveals one word.
pub(crate) fn route(request: &Request, is_serving: bool, names: &[String]) -> Route {
    if request.path != HEALTH_PATH && !request.host.is_allowed(names) {
        return Route::Respond(Response::of(Status::Misdirected));
    }
    let ok = |content_type, body: &'static str| {
        Route::Respond(Response {
            status: Status::Ok,
            content_type,
            body: body.as_bytes(),
        })
    };
    let route = match request.path.as_str() {
        "/" => ok("text/html; charset=utf-8", include_str!("page/page.html")),
        "/page.js" => ok("text/javascript; charset=utf-8", SCRIPT),
        "/page.css" => ok("text/css; charset=utf-8", include_str!("page/page.css")),
        "/grafana.json" => ok("application/json", include_str!("grafana.json")),
        HEALTH_PATH if is_serving => ok(PLAIN, "serving\n"),
        HEALTH_PATH => Route::Respond(Response {
            body: b"draining\n",
            ..Response::of(Status::Unavailable)
        }),
        "/metrics" => Route::Ask(Question::Metrics),
        "/events" => Route::Stream,
        path => match question(path) {
            Some(question) => Route::Ask(question),
            None => return Route::Respond(Response::of(Status::NotFound)),
        },
    };
    match request.method {
        Method::Get | Method::Head => route,
        Method::Other => Route::Respond(Response::of(Status::MethodNotAllowed)),
    }
}

/// The question that a path with a number asks.
fn question(path: &str) -> Option<Question> {
    if let Some(slot) = path.strip_prefix("/slots/") {
        return slot.parse().ok().map(Question::History);
    }
    let number = path.strip_prefix("/turns/")?;
    number.parse().ok().map(Question::Turns)
}

/// The head of a stream of snapshots, which are server-sent events. A browser that loses the
/// connection reconnects after one second.
pub(crate) fn stream_head() -> String {
    http::head(Status::Ok, "text/event-stream", None, After::Close, "") + "retry: 1000\n\n"
}

impl<'a> Response<'a> {
    /// The response whose body is the text of its status.
    pub(crate) fn of(status: Status) -> Self {
        Self {
            status,
            content_type: PLAIN,
            body: status.text().as_bytes(),
        }
    }

    /// The response with the program's answer to `question`.
    pub(crate) fn to(question: Question, body: &'a [u8]) -> Self {
        Self {
            status: Status::Ok,
            content_type: match question {
                Question::Metrics => super::metrics::CONTENT_TYPE,
                Question::Snapshot => "text/event-stream",
                Question::History(_) | Question::Turns(_) => "application/json",
            },
            body,
        }
    }

    /// The head of the response.
    pub(crate) fn head(&self, after: After) -> String {
        let policy = if self.content_type.starts_with("text/html") {
            POLICY
        } else {
            ""
        };
        let length = Some(self.body.len());
        http::head(self.status, self.content_type, length, after, policy)
    }
}

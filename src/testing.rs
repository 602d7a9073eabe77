//! What only the tests and the benches of this crate need: not part of the library.
//!
//! **Owns** nothing: it re-exports. **Must never touch** behaviour. **Invariant**: an item that is
//! neither public nor listed here is reported by the compiler if nothing uses it.

pub use crate::net::system::raise_descriptor_limit;

#[cfg(feature = "cli")]
pub mod client {
    //! The clients.
    pub use crate::client::{Error, Service};

    pub mod http {
        //! The download of a page.
        pub use crate::client::http::{
            Body, HeadParser, MAX_CHUNK_LINE_BYTES, MAX_HEAD_BYTES, MAX_HEADERS, MAX_REDIRECTS,
            Options, Place, Progress, RedirectError, ResponseError, Saved, Streams, Url, UrlError,
            run,
        };
    }

    pub mod names {
        //! The names to greet.
        pub use crate::client::names::{NameError, lines, prompted};
    }

    pub mod tcp {
        //! The TCP client.
        pub use crate::client::tcp::{Options, run};
    }

    pub mod udp {
        //! The UDP client.
        pub use crate::client::udp::{Options, run};
    }
}

pub mod observe {
    //! The live view and the recording.
    pub mod http {
        //! The requests of observers.
        pub use crate::observe::http::{After, Method, Request, Status, parse};
    }

    pub use crate::observe::describe::{CallStats, Detail};
    pub use crate::observe::listener::ObserverListener;
    pub use crate::observe::observer::{Observer, SNAPSHOT_PERIOD};
    pub use crate::observe::recorder::{Entry, EventKind, RecorderMode, TurnRecorder};
    pub use crate::observe::requests::{ObserverRequests, Question};
    pub use crate::observe::show::{Filter, show};
    pub use crate::observe::{Observable, State, TokenFilter, WorkCounters};
}

pub mod trace {
    //! The trace event format of a recording.
    pub use crate::observe::trace::{Event, EventType, TraceWriter, read, write};
}

#[cfg(feature = "cli")]
pub mod stress {
    //! The load generator.
    pub use crate::stress::connect::{CLIENTS_PER_SOURCE, Connecting, SourceAddresses, start_tcp};
    pub use crate::stress::counters::Counters;
    pub use crate::stress::report::exit;
    pub use crate::stress::signals::EXIT_INTERRUPTED;
    pub use crate::stress::slo::{Metric, Slo};
}

//! The enumerations of a report.
//!
//! **Owns** these names, the same in JSON and as text. **Must never touch** what they stand for.
//! **Invariant**: a name keeps its meaning until the version of the schema is raised.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Defines an enum whose names are those of the JSON form, also on a terminal.
macro_rules! names {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        pub(crate) enum $name {
            $($(#[$variant_doc])* #[serde(rename = $text)] $variant,)+
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(match self { $(Self::$variant => $text,)+ })
            }
        }
    };
}

names! {
    /// What carries the messages.
    TransportName {
        /// One connection per client.
        Tcp = "tcp",
        /// One UDP socket per client.
        Udp = "udp",
    }
}

names! {
    /// What a message is.
    FramingName {
        /// What one read returns.
        Chunk = "chunk",
        /// A line.
        Line = "line",
    }
}

names! {
    /// What sets the pace.
    LoopKind {
        /// A client sends once its last reply is complete.
        Closed = "closed",
        /// Messages are due by a schedule.
        Open = "open",
    }
}

names! {
    /// The unit of the values in a histogram.
    HistogramUnit {
        /// Nanoseconds.
        Nanoseconds = "ns",
    }
}

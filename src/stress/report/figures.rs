//! Runs side by side: which figures are compared, and whether they differ.
//!
//! **Owns** the list of figures, their spread, and the rule by which two runs differ. **Must never
//! touch** how a figure is shown. **Invariant**: two runs are said to differ only if the figures of
//! their seconds support it; too few seconds support nothing.

use super::schema::{Report, SecondReport};

/// A run and its name.
#[derive(Clone, Debug)]
pub(crate) struct NamedRun {
    /// What it is called: its file. Escaped, because anyone may have named the file.
    pub name: String,
    /// Its report.
    pub report: Report,
}

impl NamedRun {
    /// A run that is shown alone.
    #[must_use]
    pub(crate) fn unnamed(report: Report) -> Self {
        Self {
            name: String::new(),
            report,
        }
    }
}

/// The most runs that are shown side by side: as many as there are colours that can be told apart.
pub(crate) const MAX_RUNS: usize = 8;

/// Fewer seconds say nothing about the spread: with four, each quartile is one second.
const MIN_SECONDS: usize = 5;

/// Medians that are closer than this share are not said to differ: a server whose seconds are all
/// alike has no spread, and a report shows ratios to the hundredth.
const MIN_DIFFERENCE_SHARE: f64 = 0.01;

/// The unit of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// A number, per second or of something.
    Count,
    /// Microseconds.
    Time,
    /// A share, where 1.0 is shown as 100%.
    Share,
    /// Bytes.
    Bytes,
}

/// One figure that runs are compared by.
struct Figure {
    name: &'static str,
    unit: Unit,
    /// Of the whole run.
    whole: fn(&Report) -> Option<f64>,
    /// Of one second, if seconds have it.
    second: Option<fn(&SecondReport) -> Option<f64>>,
}

const FIGURES: [Figure; 11] = [
    Figure {
        name: "messages/s",
        unit: Unit::Count,
        whole: |run| Some(run.messages.per_second),
        second: Some(|second| Some(second.per_second)),
    },
    Figure {
        name: "p50",
        unit: Unit::Time,
        whole: |run| run.latency.p50_us,
        second: Some(|second| second.p50_us),
    },
    Figure {
        name: "p99",
        unit: Unit::Time,
        whole: |run| run.latency.p99_us,
        second: Some(|second| second.p99_us),
    },
    Figure {
        name: "p99.9",
        unit: Unit::Time,
        whole: |run| run.latency.p99_9_us,
        second: Some(|second| second.p99_9_us),
    },
    Figure {
        name: "max",
        unit: Unit::Time,
        whole: |run| run.latency.max_us,
        second: None,
    },
    Figure {
        name: "server CPU",
        unit: Unit::Share,
        whole: |run| Some(run.server?.cpu_share),
        second: Some(|second| second.server_cpu_share),
    },
    Figure {
        name: "load CPU",
        unit: Unit::Share,
        whole: |run| Some(run.load.process?.cpu_share),
        second: Some(|second| second.load_cpu_share),
    },
    Figure {
        name: "load lag",
        unit: Unit::Time,
        whole: |run| Some(run.load.loop_lag_mean_us),
        second: Some(|second| Some(second.loop_lag_mean_us)),
    },
    Figure {
        name: "CPU/message",
        unit: Unit::Time,
        whole: |run| run.server?.cpu_us_per_message,
        second: None,
    },
    Figure {
        name: "bytes/client",
        unit: Unit::Bytes,
        whole: |run| run.server?.bytes_per_client,
        second: None,
    },
    Figure {
        name: "connects/s",
        unit: Unit::Count,
        whole: |run| Some(run.connects.per_second),
        second: None,
    },
];

/// The quartiles of the figures of the measured seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Quartiles {
    /// A quarter of the seconds is below.
    pub lower: f64,
    /// The median.
    pub median: f64,
    /// A quarter of the seconds is above.
    pub upper: f64,
}

impl Quartiles {
    /// The spread of these figures; `None` if there are too few.
    fn of(mut figures: Vec<f64>) -> Option<Self> {
        if figures.len() < MIN_SECONDS {
            return None;
        }
        figures.sort_by(f64::total_cmp);
        let at = |quarter: usize| {
            // The position among the sorted figures, in quarters of a step.
            let position = (figures.len() - 1) * quarter;
            let (below, rest) = (position / 4, (position % 4) as f64 / 4.0);
            let above = figures.get(below + 1).unwrap_or(&figures[below]);
            figures[below] + (above - figures[below]) * rest
        };
        Some(Self {
            lower: at(1),
            median: at(2),
            upper: at(3),
        })
    }

    /// Half the distance of the quartiles, as a share of the median.
    pub(super) fn relative(self) -> Option<f64> {
        (self.median > 0.0).then(|| (self.upper - self.lower) / 2.0 / self.median)
    }

    /// Whether no figure is between both pairs of quartiles, and the medians differ visibly.
    fn is_apart_from(self, other: Self) -> bool {
        let distance = (self.median - other.median).abs();
        let visible = MIN_DIFFERENCE_SHARE * self.median.min(other.median);
        (self.upper < other.lower || other.upper < self.lower) && distance >= visible
    }
}

/// How a figure of a run relates to that of the first run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Difference {
    /// It is the first run.
    Reference,
    /// The middle halves of the seconds do not overlap.
    BeyondSpread,
    /// They overlap.
    WithinSpread,
    /// There are no figures of seconds, or too few.
    Unknown,
}

/// One figure of one run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell {
    /// Of the whole run; `None` if unknown.
    pub value: Option<f64>,
    /// Over that of the first run.
    pub ratio: Option<f64>,
    /// Of its seconds.
    pub spread: Option<Quartiles>,
    /// From the first run.
    pub difference: Difference,
}

/// One figure of all runs.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// Its name.
    pub name: &'static str,
    /// Its unit.
    pub unit: Unit,
    /// One cell for each run.
    pub cells: Vec<Cell>,
}

/// All figures that at least one run has.
pub(super) fn rows(runs: &[NamedRun]) -> Vec<Row> {
    let rows = FIGURES.iter().map(|figure| row(figure, runs));
    rows.filter(|row| row.cells.iter().any(|cell| cell.value.is_some()))
        .collect()
}

fn row(figure: &Figure, runs: &[NamedRun]) -> Row {
    let mut cells: Vec<Cell> = Vec::with_capacity(runs.len());
    for run in runs {
        let value = (figure.whole)(&run.report);
        let spread = figure.second.and_then(|of| {
            let measured = run.report.seconds.iter().filter(|second| second.measured);
            Quartiles::of(measured.filter_map(of).collect())
        });
        let first = cells.first();
        cells.push(Cell {
            value,
            spread,
            ratio: first
                .and_then(|first| Some(value? / first.value?))
                .filter(|ratio| ratio.is_finite()),
            difference: match first.map(|first| (first.spread, spread)) {
                None => Difference::Reference,
                Some((Some(first), Some(own))) if first.is_apart_from(own) => {
                    Difference::BeyondSpread
                }
                Some((Some(_), Some(_))) => Difference::WithinSpread,
                Some(_) => Difference::Unknown,
            },
        });
    }
    Row {
        name: figure.name,
        unit: figure.unit,
        cells,
    }
}

/// What `run` was asked for and `first` was not: the names of the settings.
pub(super) fn other_settings(first: &Report, run: &Report) -> Vec<&'static str> {
    let (one, other) = (&first.plan, &run.plan);
    let differs = [
        ("transport", one.transport != other.transport),
        ("framing", one.framing != other.framing),
        ("loop", one.kind != other.kind),
        ("clients", one.clients != other.clients),
        ("active", one.active != other.active),
        ("rate", one.rate != other.rate),
        ("size", one.message_bytes != other.message_bytes),
        ("pipeline", one.pipeline != other.pipeline),
        ("server flags", one.server_flags != other.server_flags),
        (
            "machine",
            first.machine.cpu_model != run.machine.cpu_model
                || first.machine.cpus != run.machine.cpus,
        ),
    ];
    let differing = differs.into_iter().filter(|(_, differs)| *differs);
    differing.map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_is_that_of_the_middle_half() {
        let spread = Quartiles::of(vec![5.0, 1.0, 4.0, 2.0, 3.0]);
        let quartiles = Quartiles {
            lower: 2.0,
            median: 3.0,
            upper: 4.0,
        };
        assert_eq!(spread, Some(quartiles));
        assert_eq!(quartiles.relative(), Some(1.0 / 3.0));
        // Between two figures.
        let spread = Quartiles::of((0..6).map(f64::from).collect()).expect("enough");
        assert_eq!(
            (spread.lower, spread.median, spread.upper),
            (1.25, 2.5, 3.75)
        );
        assert_eq!(Quartiles::of(vec![1.0; 4]), None);
        assert_eq!(
            Quartiles::of(vec![0.0; 5]).expect("enough").relative(),
            None
        );
    }

    #[test]
    fn runs_differ_if_their_quartiles_do_not_overlap() {
        let spread = |lower, upper| Quartiles {
            lower,
            median: (lower + upper) / 2.0,
            upper,
        };
        for (other, apart) in [
            ((3.0, 4.0), true),
            ((2.0, 4.0), false),
            ((0.0, 1.0), false),
            ((0.0, 0.9), true),
            ((1.2, 1.8), false),
            ((0.0, 9.0), false),
        ] {
            let other = spread(other.0, other.1);
            assert_eq!(spread(1.0, 2.0).is_apart_from(other), apart, "{other:?}");
            assert_eq!(other.is_apart_from(spread(1.0, 2.0)), apart, "{other:?}");
        }
        // Without a spread, less than 1% is no difference.
        assert!(!spread(1_000.0, 1_000.0).is_apart_from(spread(1_009.0, 1_009.0)));
        assert!(spread(1_000.0, 1_000.0).is_apart_from(spread(1_011.0, 1_011.0)));
    }
}

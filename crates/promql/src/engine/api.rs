//! What goes into an evaluation and what comes out of it.

use super::memory::{Held, MemoryPool, Size};
use super::mixed;
use super::profile::Explanation;
use model::{FloatHistogram, Labels, Millis, Timestamp};
use std::sync::Arc;
use std::time::{Duration, Instant};
use storage::Cancel;

/// How queries are evaluated; the same for all queries of an [`super::Engine`].
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// How far an instant selector looks back (`--query.lookback-delta`).
    pub lookback: Millis,
    /// Samples a query may hold at one time (`--query.max-samples`).
    pub max_samples: usize,
    /// Bytes a query may hold at one time (`--query.max-memory-per-query`).
    pub max_query_memory: u64,
    /// What all queries together may hold (`--query.max-memory`).
    pub memory: Arc<MemoryPool>,
    /// How long a query may run (`--query.timeout`).
    pub timeout: Duration,
    /// The step of subqueries that name none: the global evaluation interval.
    pub default_step: Millis,
    /// Threads of a query, the one that asks included; 0 = one per core.
    pub threads: usize,
    /// How long a query runs before it wakes the others: most have ended by then, for less than that costs. If zero, they take
    /// part in the smallest, too.
    pub alone: Duration,
    /// `promql-delayed-name-removal`: names go at the end of the query and not at each function.
    pub delayed_name_removal: bool,
    /// `promql-experimental-functions`.
    pub experimental_functions: bool,
    /// `promql-per-step-stats`: queries may ask for the samples of each step.
    pub per_step_stats: bool,
    /// `type-and-unit-labels`: what is a counter tells the label `__type__` and not the name.
    pub type_and_unit_labels: bool,
    /// `use-start-timestamps`: they tell resets and where counters began.
    pub use_start_timestamps: bool,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            lookback: Millis(5 * 60 * 1000),
            max_samples: 50_000_000,
            max_query_memory: u64::MAX,
            memory: Arc::new(MemoryPool::new(u64::MAX)),
            timeout: Duration::from_secs(120),
            default_step: Millis(60 * 1000),
            threads: 0,
            alone: Duration::from_millis(1),
            delayed_name_removal: false,
            experimental_functions: false,
            per_step_stats: false,
            type_and_unit_labels: false,
            use_start_timestamps: false,
        }
    }
}

/// One query's leash and context.
#[derive(Clone, Debug, Default)]
pub struct Control {
    /// Says when nobody wants the answer any more.
    pub cancel: Cancel,
    /// When the query has to be done; the engine's timeout applies besides.
    pub deadline: Option<Instant>,
    /// Instead of the engine's lookback.
    pub lookback: Option<Millis>,
    /// The query's text: turns byte spans into the `(line:col)` of annotations. Without it
    /// annotations carry no position.
    pub text: Option<Arc<str>>,
    /// Counts samples at each step as well as in all, where the engine's options allow it.
    pub per_step_stats: bool,
    /// Tells what each part of the query did; such a query runs on one thread.
    pub explain: bool,
}

impl Control {
    /// Has anyone asked to stop?
    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }
}

/// A sample of an instant vector.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorSample {
    /// Its labels.
    pub labels: Labels,
    /// The evaluation time.
    pub t: Timestamp,
    /// The value, if it is a float.
    pub v: f64,
    /// The value, if it is a histogram.
    pub histogram: Option<Arc<FloatHistogram>>,
}

/// A series of a matrix: points in order of time, never both empty.
#[derive(Clone, Debug, PartialEq)]
pub struct MatrixSeries {
    /// Its labels.
    pub labels: Labels,
    /// Milliseconds and values.
    pub points: Vec<(i64, f64)>,
    /// Milliseconds and histograms.
    pub histograms: Vec<(i64, Arc<FloatHistogram>)>,
}

/// What a query gives.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number.
    Scalar {
        /// The evaluation time.
        t: Timestamp,
        /// The value.
        v: f64,
    },
    /// A text.
    String {
        /// The evaluation time.
        t: Timestamp,
        /// The text.
        s: String,
    },
    /// An instant vector, in label order unless the query sorts.
    Vector(Vec<VectorSample>),
    /// Series in label order.
    Matrix(Vec<MatrixSeries>),
}

impl Value {
    /// What it takes until it is written.
    pub(super) fn size(&self) -> Size {
        let histogram = |histogram: &FloatHistogram| 16 * (mixed::size(histogram) + 1);
        match self {
            Self::Scalar { .. } | Self::String { .. } => Size::default(),
            Self::Vector(samples) => {
                let histograms: u64 = samples.iter().filter_map(|s| s.histogram.as_deref()).map(histogram).sum();
                Size { samples: samples.len() as u64, bytes: (samples.len() * size_of::<VectorSample>()) as u64 + histograms }
            }
            Self::Matrix(series) => {
                let of_one = |series: &MatrixSeries| {
                    let histograms: u64 = series.histograms.iter().map(|(_, h)| histogram(h)).sum();
                    let samples = (series.points.len() + series.histograms.len()) as u64;
                    Size { samples, bytes: size_of::<MatrixSeries>() as u64 + 16 * samples + histograms }
                };
                series.iter().map(of_one).fold(Size::default(), |a, b| Size { samples: a.samples + b.samples, bytes: a.bytes + b.bytes })
            }
        }
    }
}

/// What a query cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryStats {
    /// Samples that the steps looked at, counted as Prometheus does.
    pub total_queryable_samples: u64,
    /// Samples of the store, each at the first step that looked at it, counted as Prometheus does.
    pub samples_read: u64,
    /// Both at each step, if that was asked for.
    pub steps: Vec<StepSamples>,
    /// The most samples held at one time.
    pub peak_samples: u64,
    /// The most bytes held at one time.
    pub peak_bytes: u64,
    /// Finding series.
    pub preparation: Duration,
    /// Everything but finding series and sorting the answer.
    pub evaluation: Duration,
    /// Sorting the answer.
    pub sorting: Duration,
}

/// The samples of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepSamples {
    /// When it is.
    pub time: Timestamp,
    /// Samples that it looked at.
    pub queryable: u64,
    /// Those of them that no step before it did.
    pub read: u64,
}

/// A query's answer.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryResult {
    /// The value.
    pub value: Value,
    /// Sorted, each once.
    pub warnings: Vec<String>,
    /// Sorted, each once.
    pub infos: Vec<String>,
    /// The cost.
    pub stats: QueryStats,
    /// What each part did, if that was asked for.
    pub explanation: Option<Explanation>,
    /// Its memory counts as the query's until it is dropped.
    pub(super) held: Held,
}

/// Why a query has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The expression cannot be evaluated on this data.
    #[error("{0}")]
    Execution(String),
    /// A computed duration is none with the query's times: the query was wrong before it was evaluated.
    #[error("{0}")]
    Duration(String),
    /// Out of time; says where it was.
    #[error("query timed out in {0}")]
    Timeout(String),
    /// Nobody wants the answer any more.
    #[error("query was canceled in {0}")]
    Cancelled(String),
    /// It would hold more than `max_samples`; says where it was.
    #[error("query processing would load too many samples into memory in {0}")]
    TooManySamples(String),
    /// It would hold more bytes than it may, or than all queries may together.
    #[error(
        "query processing would take the memory of {} beyond {} ({})",
        if *.together { "all queries" } else { "the query" },
        super::memory::human(*.limit),
        if *.together { "--query.max-memory" } else { "--query.max-memory-per-query" }
    )]
    TooMuchMemory {
        /// Bytes.
        limit: u64,
        /// Of all queries at the time.
        together: bool,
    },
    /// The store failed.
    #[error("{0}")]
    Storage(String),
}

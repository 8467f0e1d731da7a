//! The words that every other crate speaks: labels, matchers, samples, histograms, time.
//!
//! Nothing here does I/O or knows a format on disk or on the wire; text forms that users see
//! (durations, numbers) live here because errors, answers and pages must all print them alike.

pub mod duration;
pub mod exemplar;
pub mod histogram;
pub mod labels;
pub mod matcher;
pub mod math;
pub mod metadata;
pub mod name;
pub mod number;
pub mod regex;
pub mod time;
pub mod value;

pub use exemplar::Exemplar;
pub use histogram::{FloatHistogram, Histogram, ResetHint, Span};
pub use labels::{Labels, LabelsBuilder};
pub use matcher::{MatchOp, Matcher};
pub use metadata::{Metadata, MetricType};
pub use time::{Millis, Timestamp};

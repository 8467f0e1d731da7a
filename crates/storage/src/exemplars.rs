//! Asking for exemplars.

use crate::{Cancel, Interval, SelectError};
use model::{Exemplar, Labels, Matcher};

/// Exemplars of one series, in order of time.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesExemplars {
    /// The series' labels.
    pub labels: Labels,
    /// Its exemplars.
    pub exemplars: Vec<Exemplar>,
}

/// Something that keeps exemplars.
pub trait ExemplarSource: Send + Sync {
    /// Exemplars in `range` of series that satisfy any of `matcher_sets`; series in label order.
    ///
    /// # Errors
    /// See [`SelectError`].
    fn exemplars(&self, range: Interval, matcher_sets: &[Vec<Matcher>], cancel: &Cancel) -> Result<Vec<SeriesExemplars>, SelectError>;
}

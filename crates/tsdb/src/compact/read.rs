//! Reading sources side by side: series in label order, those of equal labels together.
//!
//! It is what a compaction does before it writes, and what is needed to print a data directory exactly as it is stored
//! ([`each_series`]): integer histograms as such, and with start timestamps.

use super::CompactError;
use super::series::Builder;
use super::source::{SeriesSource, SourceError, SourceSeries};
use crate::chunk::Sample;
use model::Labels;
use storage::Interval;

/// Gives the samples of each series that is `selected` and has some in `range`, in label order, to `each`.
///
/// # Errors
/// What the sources or chunks say, or `each`.
pub fn each_series<E: From<CompactError>>(
    sources: &mut [Box<dyn SeriesSource + '_>],
    range: Interval,
    selected: impl Fn(&Labels) -> bool,
    mut each: impl FnMut(&Labels, Vec<Sample>) -> Result<(), E>,
) -> Result<(), E> {
    let builder = Builder::reading(range);
    let mut merged = Merged::begin(sources).map_err(CompactError::from)?;
    while merged.advance().map_err(CompactError::from)? {
        let labels = merged.labels();
        if !selected(labels) {
            continue;
        }
        let samples = builder.samples_of(&merged.same()).map_err(|error| CompactError::Chunk { labels: labels.clone(), error })?;
        if !samples.is_empty() {
            each(labels, samples)?;
        }
    }
    Ok(())
}

/// Sources, each at its next series.
pub(super) struct Merged<'s, 'a> {
    heads: Vec<(&'s mut Box<dyn SeriesSource + 'a>, SourceSeries)>,
    /// The least label set of the heads, once advanced.
    labels: Option<Labels>,
}

impl<'s, 'a> Merged<'s, 'a> {
    /// Before the first series.
    pub(super) fn begin(sources: &'s mut [Box<dyn SeriesSource + 'a>]) -> Result<Self, SourceError> {
        let mut heads = Vec::with_capacity(sources.len());
        for source in sources {
            let mut series = SourceSeries::new();
            if source.next(&mut series)? {
                heads.push((source, series));
            }
        }
        Ok(Self { heads, labels: None })
    }

    /// Goes to the next label set; false after the last.
    pub(super) fn advance(&mut self) -> Result<bool, SourceError> {
        if let Some(done) = self.labels.take() {
            let mut i = 0;
            while let Some((source, series)) = self.heads.get_mut(i) {
                if *series.labels() == done && !source.next(series)? {
                    self.heads.remove(i);
                } else {
                    i += 1;
                }
            }
        }
        self.labels = self.heads.iter().map(|(_, series)| series.labels()).min().cloned();
        Ok(self.labels.is_some())
    }

    /// Whose chunks [`Self::same`] are.
    ///
    /// # Panics
    /// Before the first and after the last series.
    pub(super) fn labels(&self) -> &Labels {
        self.labels.as_ref().expect("called only where advance has said that there is a series")
    }

    /// The series of all sources that have these labels.
    pub(super) fn same(&self) -> Vec<&SourceSeries> {
        self.heads.iter().map(|(_, series)| series).filter(|series| Some(series.labels()) == self.labels.as_ref()).collect()
    }
}

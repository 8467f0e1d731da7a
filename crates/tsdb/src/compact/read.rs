//! Reading sources side by side: series in label order, those of equal labels together.
//!
//! It is what a compaction does before it writes, and what is needed to print a data directory exactly as it is stored
//! ([`each_series`]): integer histograms as such, and with start timestamps.

use super::CompactError;
use super::series::Builder;
use super::source::{MergedSymbols, SeriesSource, SourceError, SourceSeries};
use super::texts::Texts;
use crate::block::SymbolPair;
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
    let mut symbols = MergedSymbols::of(sources);
    let texts: Texts = symbols.by_ref().collect();
    let numbers = symbols.into_numbers();
    let unknown = || CompactError::Source(SourceError::new("a label is none of the symbols"));
    let mut merged = Merged::begin(sources, &numbers).map_err(CompactError::from)?;
    while merged.advance().map_err(CompactError::from)? {
        let pairs = merged.labels().iter().map(|pair| texts.get(pair.name).zip(texts.get(pair.value)));
        let pairs: Vec<(&str, &str)> = pairs.collect::<Option<_>>().ok_or_else(unknown)?;
        let labels = &Labels::from_pairs(pairs);
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
    heads: Vec<Source<'s, 'a>>,
    /// The least label set of the heads, once advanced.
    labels: Vec<SymbolPair>,
    begun: bool,
}

struct Source<'s, 'a> {
    source: &'s mut Box<dyn SeriesSource + 'a>,
    series: SourceSeries,
    /// The numbers of its symbols among all; none if they are their own.
    numbers: Option<&'s [u32]>,
}

impl Source<'_, '_> {
    fn next(&mut self) -> Result<bool, SourceError> {
        if !self.source.next(&mut self.series)? {
            return Ok(false);
        }
        match self.numbers {
            Some(numbers) if !self.series.renumber(numbers) => Err(SourceError::new("a label is none of the source's symbols")),
            _ => Ok(true),
        }
    }
}

impl<'s, 'a> Merged<'s, 'a> {
    /// Before the first series. Symbols of each source get these numbers; without any they keep their own.
    pub(super) fn begin(sources: &'s mut [Box<dyn SeriesSource + 'a>], numbers: &'s [Vec<u32>]) -> Result<Self, SourceError> {
        let mut heads = Vec::with_capacity(sources.len());
        for (at, source) in sources.iter_mut().enumerate() {
            let mut source = Source { source, series: SourceSeries::new(), numbers: numbers.get(at).map(Vec::as_slice) };
            if source.next()? {
                heads.push(source);
            }
        }
        Ok(Self { heads, labels: Vec::new(), begun: false })
    }

    /// Goes to the next label set; false after the last.
    pub(super) fn advance(&mut self) -> Result<bool, SourceError> {
        let mut i = 0;
        while self.begun
            && let Some(head) = self.heads.get_mut(i)
        {
            if *head.series.labels() == *self.labels && !head.next()? {
                self.heads.remove(i);
            } else {
                i += 1;
            }
        }
        self.begun = true;
        self.labels.clear();
        let Some(least) = self.heads.iter().map(|head| head.series.labels()).min() else { return Ok(false) };
        self.labels.extend_from_slice(least);
        Ok(true)
    }

    /// Whose chunks [`Self::same`] are.
    pub(super) fn labels(&self) -> &[SymbolPair] {
        &self.labels
    }

    /// The series of all sources that have these labels.
    pub(super) fn same(&self) -> Vec<&SourceSeries> {
        self.heads.iter().map(|head| &head.series).filter(|series| *series.labels() == *self.labels).collect()
    }
}

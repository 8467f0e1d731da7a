//! What a page says of the metric family under way, where that becomes labels: `__type__` and `__unit__`.
//!
//! The type holds until the next `TYPE` line, whatever that names, as in Prometheus. The unit ends with its family: few
//! families have one, and the others would inherit it.

use exposition::{Entry, LabelPairs, LabelsError, Sample};
use model::MetricType;

use crate::cache;

/// The family whose lines are read.
#[derive(Debug, Default)]
pub(crate) struct Family {
    /// In the last line of metadata.
    name: String,
    kind: MetricType,
    unit: String,
    tag: u64,
}

impl Family {
    /// To be called with each entry that is no sample.
    pub(crate) fn metadata(&mut self, entry: &Entry<'_>) {
        let (Entry::Type { name, .. } | Entry::Help { name, .. } | Entry::Unit { name, .. }) = entry else { return };
        if *self.name != **name {
            (**name).clone_into(&mut self.name);
            self.unit.clear();
        }
        match entry {
            Entry::Type { kind, .. } => self.kind = *kind,
            Entry::Unit { unit, .. } => (**unit).clone_into(&mut self.unit),
            Entry::Help { .. } | Entry::Sample(_) => {}
        }
        // Nothing known, nothing mixed in.
        let known = self.kind != MetricType::Unknown || !self.unit.is_empty();
        self.tag = if known { cache::key(0, self.kind as u8, self.unit.as_bytes()) as u64 } else { 0 };
    }

    /// To be mixed into the seed of keys: the same line means another series where the family is another.
    pub(crate) fn tag(&self) -> u64 {
        self.tag
    }

    /// As [`Sample::labels`], with the family's.
    pub(crate) fn labels<'a>(&self, sample: &Sample<'a>, pairs: &mut LabelPairs<'a>) -> Result<(), LabelsError> {
        sample.described_labels(self.kind, &self.unit, pairs)
    }
}

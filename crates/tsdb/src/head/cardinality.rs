//! What the series are made of: the figures of `/api/v1/status/tsdb`.

use super::index::Index;
use super::symbols::SymbolId;
use model::labels::METRIC_NAME;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The label names, values and pairs that weigh most; every list is descending, equals in order of text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cardinality {
    /// Series of each metric name.
    pub series_by_metric: Vec<(String, u64)>,
    /// Values of each label name.
    pub values_by_label: Vec<(String, u64)>,
    /// Bytes that each label name's pairs take in all series, as Prometheus reckons them: lengths and texts.
    pub bytes_by_label: Vec<(String, u64)>,
    /// Series of each `name=value`.
    pub series_by_pair: Vec<(String, u64)>,
    /// Distinct label pairs.
    pub label_pair_count: u64,
}

impl Index {
    /// The `limit` highest figures of each kind.
    pub fn cardinality(&self, limit: usize) -> Cardinality {
        let mut metrics = Top::new(limit);
        let mut values = Top::new(limit);
        let mut bytes = Top::new(limit);
        let mut pairs = Top::new(limit);
        for (name, dictionary) in self.dictionaries() {
            let name_text = self.symbols.text(name);
            let mut label_bytes = 0;
            for value in dictionary.iter() {
                let value_text = self.symbols.text(value);
                let series = self.series_with(name, value);
                if name_text == METRIC_NAME {
                    metrics.offer(series, (value_text, ""));
                }
                pairs.offer(series, (name_text, value_text));
                label_bytes += series * (text_bytes(name_text) + text_bytes(value_text));
            }
            values.offer(dictionary.len() as u64, (name_text, ""));
            bytes.offer(label_bytes, (name_text, ""));
        }
        let alone = |(text, _): (&str, &str)| text.to_owned();
        Cardinality {
            series_by_metric: metrics.finish(alone),
            values_by_label: values.finish(alone),
            bytes_by_label: bytes.finish(alone),
            series_by_pair: pairs.finish(|(name, value)| format!("{name}={value}")),
            label_pair_count: self.pair_count() as u64,
        }
    }

    /// How many series have this label pair.
    fn series_with(&self, name: SymbolId, value: SymbolId) -> u64 {
        self.postings_of(name, value).map_or(0, super::postings::Postings::slot_count)
    }
}

/// Bytes of a text in Prometheus's packed labels: a length of one byte, or of four from 255 on.
fn text_bytes(text: &str) -> u64 {
    text.len() as u64 + if text.len() < 255 { 1 } else { 4 }
}

/// The highest of many figures; the least of those kept stands on top of the heap.
struct Top<'a> {
    limit: usize,
    kept: BinaryHeap<Reverse<(u64, Reverse<(&'a str, &'a str)>)>>,
}

impl<'a> Top<'a> {
    fn new(limit: usize) -> Self {
        Self { limit, kept: BinaryHeap::new() }
    }

    fn offer(&mut self, figure: u64, text: (&'a str, &'a str)) {
        let offered = Reverse((figure, Reverse(text)));
        if self.kept.len() < self.limit {
            self.kept.push(offered);
        } else if let Some(mut least) = self.kept.peek_mut()
            && offered < *least
        {
            *least = offered;
        }
    }

    fn finish(self, text: impl Fn((&'a str, &'a str)) -> String) -> Vec<(String, u64)> {
        self.kept.into_sorted_vec().into_iter().map(|Reverse((figure, Reverse(key)))| (text(key), figure)).collect()
    }
}

//! What the series are made of: the figures of `/api/v1/status/tsdb`.

use super::index::Index;
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
        for (name, dictionary) in self.pairs.dictionaries() {
            let name = self.symbols().text(name);
            let mut label_bytes = 0;
            for pair in dictionary.iter() {
                let value = self.pairs.value_text(pair);
                let series = self.pairs.postings(pair).slot_count();
                if name == METRIC_NAME {
                    metrics.offer(series, (value, ""));
                }
                pairs.offer(series, (name, value));
                label_bytes += series * (text_bytes(name) + text_bytes(value));
            }
            values.offer(dictionary.len() as u64, (name, ""));
            bytes.offer(label_bytes, (name, ""));
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
}

impl super::Head {
    /// The `limit` highest figures of each kind. Reads the whole index: not for every scrape of the metrics.
    pub fn cardinality(&self, limit: usize) -> Cardinality {
        self.read_index().cardinality(limit)
    }
}

/// Bytes of a text in Prometheus's packed labels: a length of one byte, or of four from 255 on.
fn text_bytes(text: &str) -> u64 {
    text.len() as u64 + if text.len() < 255 { 1 } else { 4 }
}

/// The highest of many figures; the least of those kept stands on top of the heap.
struct Top<'a> {
    limit: usize,
    kept: BinaryHeap<Reverse<Figure<'a>>>,
}

/// A figure and whose it is; of equal figures the one with the lower text is higher.
type Figure<'a> = (u64, Reverse<(&'a str, &'a str)>);

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

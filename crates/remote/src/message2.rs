//! `io.prometheus.write.v2.Request`, read in place.
//!
//! | message | field | type | meaning |
//! |---|---|---|---|
//! | Request | 4 | string, repeated | the symbols: texts that all else refers to by number |
//! | Request | 5 | TimeSeries, repeated | the series |
//! | TimeSeries | 1 | uint32, repeated | symbols of its labels: name, value, name, value, … |
//! | TimeSeries | 2 | Sample, repeated | field 1 double value, 2 int64 milliseconds, 3 int64 start timestamp |
//! | TimeSeries | 3 | Histogram, repeated | see [`crate::histogram`] |
//! | TimeSeries | 4 | Exemplar, repeated | field 1 uint32 repeated (labels), 2 double value, 3 int64 milliseconds |
//! | TimeSeries | 5 | Metadata | field 1 enum type, 3 uint32 help symbol, 4 uint32 unit symbol |
//!
//! Start timestamps are read over: Prometheus does not store those that come this way.

use crate::histogram::{Sent, histogram};
use crate::message::{Sample, exemplar_labels, tidy};
use crate::wire::{WireError, next_field};
use model::labels::{METRIC_TYPE, METRIC_UNIT};
use model::{Exemplar, Labels, Metadata, MetricType, Timestamp};

/// A request in its parts. Symbols may stand after the series that use them.
#[derive(Default)]
pub(crate) struct Request<'a> {
    pub symbols: Symbols<'a>,
    pub series: Vec<&'a [u8]>,
}

/// The texts of a request; they need not be UTF-8.
#[derive(Default)]
pub(crate) struct Symbols<'a>(Vec<&'a [u8]>);

/// A series' parts. Reused from one series to the next.
#[derive(Default)]
pub(crate) struct Series {
    pub refs: Vec<u32>,
    pub samples: Vec<Sample>,
    pub histograms: Vec<(Timestamp, Sent)>,
    pub exemplars: Vec<SentExemplar>,
    pub metadata: SentMetadata,
}

/// An exemplar whose labels are still numbers.
pub(crate) struct SentExemplar {
    refs: Vec<u32>,
    value: f64,
    timestamp: Timestamp,
}

/// Metadata whose texts are still numbers.
#[derive(Clone, Copy, Default)]
pub(crate) struct SentMetadata {
    kind: u64,
    help: u32,
    unit: u32,
}

/// A number that names no symbol.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RefError {
    #[error("invalid labelRefs length {0}")]
    Odd(usize),
    #[error("labelRefs {name} (name) = {value} (value) outside of symbols table (size {symbols})")]
    Label { name: u32, value: u32, symbols: usize },
    #[error("metadata {what}_ref {number} outside of symbols table (size {symbols})")]
    Metadata { what: &'static str, number: u32, symbols: usize },
}

/// Why a label set is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LabelsError {
    #[error("invalid metric name or labels, got {0}")]
    Invalid(String),
    #[error("invalid labels for series, labels {labels}, duplicated label {name}")]
    Twice { labels: String, name: String },
}

pub(crate) fn request(mut message: &[u8]) -> Result<Request<'_>, WireError> {
    let mut request = Request::default();
    while let Some((field, value)) = next_field(&mut message)? {
        match field {
            4 => request.symbols.0.push(value.bytes(4)?),
            5 => request.series.push(value.bytes(5)?),
            _ => {}
        }
    }
    Ok(request)
}

impl Series {
    pub(crate) fn read(&mut self, mut message: &[u8]) -> Result<(), WireError> {
        self.refs.clear();
        self.samples.clear();
        self.histograms.clear();
        self.exemplars.clear();
        self.metadata = SentMetadata::default();
        while let Some((field, value)) = next_field(&mut message)? {
            match field {
                1 => value.each_varint(1, |number| self.refs.push(number as u32))?,
                2 => self.samples.push(sample(value.bytes(2)?)?),
                3 => self.histograms.push(histogram(value.bytes(3)?)?),
                4 => self.exemplars.push(exemplar(value.bytes(4)?)?),
                5 => self.metadata.read(value.bytes(5)?)?,
                _ => {}
            }
        }
        Ok(())
    }
}

fn sample(mut message: &[u8]) -> Result<Sample, WireError> {
    let mut sample = Sample { time: Timestamp(0), value: 0.0 };
    while let Some((field, value)) = next_field(&mut message)? {
        match field {
            1 => sample.value = value.double(1)?,
            2 => sample.time = Timestamp(value.int64(2)?),
            3 => drop(value.int64(3)?),
            _ => {}
        }
    }
    Ok(sample)
}

fn exemplar(mut message: &[u8]) -> Result<SentExemplar, WireError> {
    let mut exemplar = SentExemplar { refs: Vec::new(), value: 0.0, timestamp: Timestamp(0) };
    while let Some((field, value)) = next_field(&mut message)? {
        match field {
            1 => value.each_varint(1, |number| exemplar.refs.push(number as u32))?,
            2 => exemplar.value = value.double(2)?,
            3 => exemplar.timestamp = Timestamp(value.int64(3)?),
            _ => {}
        }
    }
    Ok(exemplar)
}

impl SentMetadata {
    fn read(&mut self, mut message: &[u8]) -> Result<(), WireError> {
        while let Some((field, value)) = next_field(&mut message)? {
            match field {
                1 => self.kind = value.uint64(1)?,
                3 => self.help = value.uint32(3)?,
                4 => self.unit = value.uint32(4)?,
                _ => {}
            }
        }
        Ok(())
    }
}

/// A name and its value.
type Pair<'a> = (&'a [u8], &'a [u8]);

impl<'a> Symbols<'a> {
    fn get(&self, number: u32) -> Option<&'a [u8]> {
        self.0.get(number as usize).copied()
    }

    /// Names and values by their numbers.
    pub(crate) fn pairs(&self, refs: &[u32]) -> Result<Vec<Pair<'a>>, RefError> {
        let (pairs, rest) = refs.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(RefError::Odd(refs.len()));
        }
        let outside = |&[name, value]: &[u32; 2]| RefError::Label { name, value, symbols: self.0.len() };
        pairs.iter().map(|pair| self.get(pair[0]).zip(self.get(pair[1])).ok_or_else(|| outside(pair))).collect()
    }

    pub(crate) fn metadata(&self, sent: SentMetadata) -> Result<Metadata, RefError> {
        let text = |what, number| {
            let symbol = self.get(number).ok_or(RefError::Metadata { what, number, symbols: self.0.len() });
            symbol.map(|text| String::from_utf8_lossy(text).into_owned())
        };
        let (unit, help) = (text("unit", sent.unit)?, text("help", sent.help)?);
        Ok(Metadata { kind: kind(sent.kind), unit, help })
    }

    /// Puts type and unit among the labels, in place of what is there of these names; nothing if neither is known.
    pub(crate) fn describe(&self, pairs: &mut Vec<Pair<'a>>, sent: SentMetadata) {
        let kind = Some(kind(sent.kind)).filter(|kind| *kind != MetricType::Unknown).map(|kind| kind.as_str().as_bytes());
        let unit = self.get(sent.unit).filter(|unit| !unit.is_empty());
        if kind.is_none() && unit.is_none() {
            return;
        }
        let (kind_name, unit_name) = (METRIC_TYPE.as_bytes(), METRIC_UNIT.as_bytes());
        pairs.retain(|(name, _)| *name != kind_name && *name != unit_name);
        pairs.extend(kind.map(|kind| (kind_name, kind)));
        pairs.extend(unit.map(|unit| (unit_name, unit)));
    }

    /// `None`: its labels cannot be kept, see [`crate::message::exemplar`].
    pub(crate) fn exemplar(&self, sent: &SentExemplar) -> Result<Option<Exemplar>, RefError> {
        let labels = exemplar_labels(&self.pairs(&sent.refs)?);
        Ok(labels.map(|labels| Exemplar { labels, value: sent.value, timestamp: sent.timestamp, has_timestamp: sent.timestamp.0 != 0 }))
    }
}

fn kind(number: u64) -> MetricType {
    match number {
        1 => MetricType::Counter,
        2 => MetricType::Gauge,
        3 => MetricType::Histogram,
        4 => MetricType::GaugeHistogram,
        5 => MetricType::Summary,
        6 => MetricType::Info,
        7 => MetricType::StateSet,
        _ => MetricType::Unknown,
    }
}

/// The label set of these pairs.
pub(crate) fn labels(pairs: &[(&[u8], &[u8])]) -> Result<Labels, LabelsError> {
    tidy(pairs).ok_or_else(|| {
        let texts =
            pairs.iter().all(|(name, value)| !name.is_empty() && std::str::from_utf8(name).is_ok() && std::str::from_utf8(value).is_ok());
        let named = pairs.iter().any(|(name, value)| *name == model::labels::METRIC_NAME.as_bytes() && !value.is_empty());
        let mut names: Vec<&[u8]> = pairs.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        match names.windows(2).find(|two| two[0] == two[1]) {
            Some(two) if texts && named => {
                LabelsError::Twice { labels: display(pairs), name: String::from_utf8_lossy(two[0]).into_owned() }
            }
            _ => LabelsError::Invalid(display(pairs)),
        }
    })
}

/// As Prometheus writes a label set, whatever the bytes.
pub(crate) fn display(pairs: &[(&[u8], &[u8])]) -> String {
    let mut pairs = pairs.to_vec();
    pairs.sort_by_key(|(name, _)| *name);
    let mut out = String::from("{");
    for (i, (name, value)) in pairs.iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        match std::str::from_utf8(name) {
            Ok(name) if model::name::is_legacy_label_name(name) => out.push_str(name),
            _ => quoted(name, &mut out),
        }
        out.push('=');
        quoted(value, &mut out);
    }
    out.push('}');
    out
}

/// Go's quoting; bytes that are no text by their numbers.
fn quoted(bytes: &[u8], out: &mut String) {
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        let quoted = model::name::quote(chunk.valid());
        out.push_str(&quoted[1..quoted.len() - 1]);
        chunk.invalid().iter().for_each(|byte| out.push_str(&format!("\\x{byte:02x}")));
    }
    out.push('"');
}

/// `[1 2 3]`
pub(crate) fn display_refs(refs: &[u32]) -> String {
    let numbers: Vec<String> = refs.iter().map(u32::to_string).collect();
    format!("[{}]", numbers.join(" "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn refs_outside_the_symbols() {
        let symbols = Symbols(vec![b"", b"a", b"b"]);
        assert_eq!(symbols.pairs(&[1, 2]), Ok(vec![(&b"a"[..], &b"b"[..])]));
        assert_eq!(symbols.pairs(&[1, 2, 1]), Err(RefError::Odd(3)));
        assert_eq!(symbols.pairs(&[1, 3]).unwrap_err().to_string(), "labelRefs 1 (name) = 3 (value) outside of symbols table (size 3)");
        let metadata = |help, unit| symbols.metadata(SentMetadata { kind: 1, help, unit }).map_err(|error| error.to_string());
        assert_eq!(metadata(1, 0), Ok(Metadata { kind: MetricType::Counter, unit: String::new(), help: "a".into() }));
        assert_eq!(metadata(9, 0), Err("metadata help_ref 9 outside of symbols table (size 3)".into()));
        assert_eq!(metadata(9, 8), Err("metadata unit_ref 8 outside of symbols table (size 3)".into()));
    }

    #[test]
    fn label_sets_that_are_none() {
        let text = |pairs: &[(&[u8], &[u8])]| labels(pairs).map(|labels| labels.to_string()).unwrap_or_else(|error| error.to_string());
        assert_eq!(text(&[(b"z", b"1"), (b"__name__", b"n"), (b"e", b"")]), r#"{__name__="n", z="1"}"#);
        assert_eq!(text(&[(b"a", b"1")]), r#"invalid metric name or labels, got {a="1"}"#);
        assert_eq!(text(&[(b"a-b", b"\xff"), (b"__name__", b"n")]), r#"invalid metric name or labels, got {__name__="n", "a-b"="\xff"}"#);
        assert_eq!(
            text(&[(b"a", b"1"), (b"__name__", b"n"), (b"a", b"2")]),
            r#"invalid labels for series, labels {__name__="n", a="1", a="2"}, duplicated label a"#
        );
    }
}

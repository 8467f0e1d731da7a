//! `analyze`: which labels make a block's index large, and how full its chunks are.

use super::{blocks, satisfies};
use crate::tool::{Failure, go};
use model::{Labels, Matcher};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use tsdb::block::{Block, ChunkMeta, SeriesEntry};
use tsdb::chunk::{self, Encoding, Value};

/// What is analysed.
pub struct What<'a> {
    /// The block; the last one if empty.
    pub block: &'a str,
    /// Lines a list.
    pub limit: usize,
    /// Look into the chunks too.
    pub extended: bool,
    /// Only series that match; all if empty.
    pub selector: &'a str,
}

/// Prints what there is to know.
pub fn analyze(dir: &Path, what: &What<'_>, out: &mut dyn Write) -> Result<(), Failure> {
    let matchers = if what.selector.is_empty() { Vec::new() } else { promql::parser::parse_selector(what.selector)? };
    let block = blocks::open_one(dir, what.block)?;
    let meta = block.meta();
    let length = meta.max_time.wrapping_sub(meta.min_time);
    writeln!(out, "Block ID: {}", meta.ulid)?;
    writeln!(out, "Duration: {}", go::duration(length))?;
    writeln!(out, "Total Series: {}", meta.stats.series)?;
    let counts = Counts::of(&block, &matchers, length)?;
    if !what.selector.is_empty() {
        writeln!(out, "Matcher: {}", what.selector)?;
    }
    writeln!(out, "Label names: {}", counts.values.len())?;
    if !what.selector.is_empty() {
        writeln!(out, "Matched series: {}", counts.series)?;
    }
    writeln!(out, "Postings (unique label pairs): {}", counts.pairs.len())?;
    writeln!(out, "Postings entries (total label pairs): {}", counts.entries)?;
    counts.print(what.limit, length, out)?;
    if what.extended { chunks(&block, &matchers, out) } else { Ok(()) }
}

/// Figures of label names and pairs.
#[derive(Default)]
struct Counts {
    series: usize,
    entries: usize,
    /// By pair: how many series, and for how long in all they have no samples (milliseconds).
    pairs: BTreeMap<(String, String), (u64, u64)>,
    /// By name: for how long in all its series have no samples.
    uncovered: BTreeMap<String, u64>,
    /// By name: its values.
    values: BTreeMap<String, BTreeSet<String>>,
}

impl Counts {
    fn of(block: &Block, matchers: &[Matcher], length: i64) -> Result<Self, Failure> {
        let mut counts = Self::default();
        each_series(block, matchers, |labels, chunks| {
            counts.series += 1;
            let covered = match chunks {
                [first, .., last] | [first @ last] => last.max_time.wrapping_sub(first.min_time),
                [] => 0,
            };
            let uncovered = (length as u64).wrapping_sub(covered as u64);
            for (name, value) in labels {
                counts.entries += 1;
                let pair = counts.pairs.entry((name.to_owned(), value.to_owned())).or_default();
                pair.0 += 1;
                pair.1 = pair.1.wrapping_add(uncovered);
                let of_name = counts.uncovered.entry(name.to_owned()).or_default();
                *of_name = of_name.wrapping_add(uncovered);
                counts.values.entry(name.to_owned()).or_default().insert(value.to_owned());
            }
            Ok(())
        })?;
        Ok(counts)
    }

    fn print(&self, limit: usize, length: i64, out: &mut dyn Write) -> Result<(), Failure> {
        let key = |(name, value): &(String, String)| format!("{name}={value}");
        let share = |uncovered: u64| (uncovered as f64 / length as f64) as u64;
        let churning_pairs = self.pairs.iter().map(|(pair, (_, uncovered))| (share(*uncovered), key(pair))).collect();
        top("Label pairs most involved in churning", churning_pairs, limit, out)?;
        let churning_names = self.uncovered.iter().map(|(name, uncovered)| (share(*uncovered), name.clone())).collect();
        top("Label names most involved in churning", churning_names, limit, out)?;
        let common = self.pairs.iter().map(|(pair, (series, _))| (*series, key(pair))).collect();
        top("Most common label pairs", common, limit, out)?;
        let lengths =
            self.values.iter().map(|(name, values)| (values.iter().map(|value| value.len() as u64).sum(), name.clone())).collect();
        top("Label names with highest cumulative label value length", lengths, limit, out)?;
        let cardinality = self.values.iter().map(|(name, values)| (values.len() as u64, name.clone())).collect();
        top("Highest cardinality labels", cardinality, limit, out)?;
        let metrics = self.pairs.iter().filter(|((name, _), _)| name == model::labels::METRIC_NAME);
        top("Highest cardinality metric names", metrics.map(|((_, value), (series, _))| (*series, value.clone())).collect(), limit, out)
    }
}

/// Prints the largest; equal ones by name (in Prometheus in no order).
fn top(title: &str, mut figures: Vec<(u64, String)>, limit: usize, out: &mut dyn Write) -> Result<(), Failure> {
    figures.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    writeln!(out, "\n{title}:")?;
    for (figure, name) in figures.iter().take(limit) {
        writeln!(out, "{figure} {name}")?;
    }
    Ok(())
}

fn each_series(
    block: &Block,
    matchers: &[Matcher],
    mut each: impl FnMut(&Labels, &[ChunkMeta]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut entry = SeriesEntry::default();
    for id in block.series_ids()? {
        block.series(id, &mut entry)?;
        if satisfies(&entry.labels, matchers) {
            each(&entry.labels, &entry.chunks)?;
        }
    }
    Ok(())
}

/// Prints how full the chunks are.
fn chunks(block: &Block, matchers: &[Matcher], out: &mut dyn Write) -> Result<(), Failure> {
    let mut total = 0;
    let (mut float_samples, mut float_bytes) = (Vec::new(), Vec::new());
    let (mut histogram_samples, mut histogram_bytes, mut histogram_buckets) = (Vec::new(), Vec::new(), Vec::new());
    each_series(block, matchers, |_, chunks| {
        for meta in chunks {
            let (encoding, bytes) = block.chunk(meta.chunk_ref)?;
            let samples = usize::from(chunk::sample_count(encoding, bytes).unwrap_or(0));
            total += 1;
            match encoding {
                Encoding::Xor | Encoding::Xor2 => {
                    float_samples.push(samples);
                    float_bytes.push(bytes.len());
                }
                Encoding::Histogram | Encoding::FloatHistogram | Encoding::HistogramSt | Encoding::FloatHistogramSt => {
                    histogram_samples.push(samples);
                    histogram_bytes.push(bytes.len());
                    let mut buckets = 0;
                    chunk::samples(encoding, bytes, |sample| match sample.value {
                        Value::Histogram(histogram) => buckets += histogram.positive_deltas.len() + histogram.negative_deltas.len(),
                        Value::FloatHistogram(histogram) => buckets += histogram.positive_counts.len() + histogram.negative_counts.len(),
                        Value::Float(_) => {}
                    })?;
                    histogram_buckets.push(buckets);
                }
            }
        }
        Ok(())
    })?;
    write!(out, "\nCompaction analysis:\n\n")?;
    distribution("samples per float chunk", float_samples, total, out)?;
    distribution("bytes per float chunk", float_bytes, total, out)?;
    distribution("samples per histogram chunk", histogram_samples, total, out)?;
    distribution("bytes per histogram chunk", histogram_bytes, total, out)?;
    distribution("buckets per histogram chunk", histogram_buckets, total, out)
}

/// Prints figures as about ten bars.
fn distribution(what: &str, mut figures: Vec<usize>, total: usize, out: &mut dyn Write) -> Result<(), Failure> {
    figures.sort_unstable();
    let (Some(&least), Some(&greatest)) = (figures.first(), figures.last()) else {
        return Ok(write!(out, "{what}: N/A\n\n")?);
    };
    let step = step_of(least, greatest);
    let start = least - least % step;
    let end = greatest - greatest % step + step;
    let mut buckets = vec![0usize; (end - start) / step + 1];
    for figure in &figures {
        buckets[(figure - start) / step] += 1;
    }
    let average = figures.iter().sum::<usize>() / figures.len();
    writeln!(out, "{what} (min/avg/max): {least}/{average}/{greatest}")?;
    let digits = |number: usize| number.to_string().len();
    let (left, right, wide) = (digits(end), digits(end + step), digits(buckets.iter().copied().max().unwrap_or(0)));
    for (i, count) in buckets.iter().enumerate() {
        let bar = "#".repeat(100 * count / total.max(1));
        writeln!(out, "[{:left$}, {:right$}]: {count:wide$} {bar}", i * step + start + 1, (i + 1) * step + start)?;
    }
    Ok(writeln!(out)?)
}

/// The power of ten from 10 to 100,000 that makes about ten steps.
fn step_of(least: usize, greatest: usize) -> usize {
    let tenth = (greatest - least) / 10;
    let mut step = 10;
    while step < tenth && step <= 10_000 {
        step *= 10;
    }
    step
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_distribution_in_steps_of_ten() {
        let mut out = Vec::new();
        distribution("things", vec![3, 14, 15, 22], 8, &mut out).ok().unwrap();
        let want = "things (min/avg/max): 3/13/22\n[ 1, 10]: 1 ############\n[11, 20]: 2 #########################\n[21, 30]: 1 ############\n[31, 40]: 0 \n\n";
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }

    #[test]
    fn steps_grow_with_the_range() {
        assert_eq!((step_of(0, 99), step_of(0, 101), step_of(0, 2_000), step_of(0, 10_000_000)), (10, 10, 1_000, 100_000));
    }
}

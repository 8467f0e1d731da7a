//! `create-blocks-from openmetrics`: blocks from a page of samples that all have timestamps.
//!
//! The page is read once for each block's range of time that has samples, so that the samples of one block are in memory at a
//! time. Samples of a series may come in any order; of several at one time the first stays.

use super::blocks::{self, Header};
use crate::tool::Failure;
use exposition::{Entry, Format, Parser};
use model::{Labels, LabelsBuilder};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use tsdb::block::{Block, SymbolPair};
use tsdb::chunk::{self, EncodeOptions, Sample, Value};
use tsdb::compact::Origin;
use tsdb::compact::plan::ranges;
use tsdb::compact::run::{self, Floats, Target};
use tsdb::compact::source::{SeriesSource, SourceError, SourceSeries};
use tsdb::db::FloatEncoding;
use ulid::Ulid;
use world::{Clock as _, SystemClock};

/// The range of time of the smallest blocks: 2 h, in milliseconds.
const BLOCK_MS: i64 = 2 * 60 * 60 * 1_000;

/// How blocks are made and reported.
pub struct How<'a> {
    /// Print sizes and times for people.
    pub human_readable: bool,
    /// Print nothing.
    pub quiet: bool,
    /// A duration that no block is longer than; empty = 2 h.
    pub block_max: &'a str,
    /// `name=value`, put on every series.
    pub labels: Vec<&'a str>,
}

/// Makes blocks of the samples in a file.
pub fn openmetrics(input: &Path, dir: &Path, how: &How<'_>, out: &mut dyn Write) -> Result<(), Failure> {
    let added = how.labels.iter().map(|pair| parse_label(pair)).collect::<Result<Vec<_>, _>>()?;
    let block_ms = block_duration(how.block_max)?;
    let page = fs::read(input).map_err(|error| Failure::Message(format!("open {}: {error}", input.display())))?;
    fs::create_dir_all(dir).map_err(|error| Failure::Message(format!("create output dir: {error}")))?;
    let first = first_sample(&page).map_err(|failure| failure.context("getting min and max timestamp"))?;
    let mut next = first;
    let mut header = Header::Shown;
    while let Some(time) = next {
        let start = block_ms.saturating_mul(time.div_euclid(block_ms));
        let end = start.saturating_add(block_ms);
        let attempt = "block creation: process blocks";
        let collected = collect(&page, start, end, &added).map_err(|failure| failure.context(attempt))?;
        next = collected.next;
        if let Some(block) = write(collected, dir).map_err(|failure| failure.context(attempt))?
            && !how.quiet
        {
            blocks::print(&[block], header, how.human_readable, out)?;
            header = Header::Left;
        }
    }
    Ok(())
}

fn parse_label(pair: &str) -> Result<(&str, &str), Failure> {
    pair.split_once('=').ok_or_else(|| Failure::Message(format!("expected KEY=VALUE got '{pair}'")))
}

/// The longest range that blocks are merged to which is not above `text`.
fn block_duration(text: &str) -> Result<i64, Failure> {
    if text.is_empty() {
        return Ok(BLOCK_MS);
    }
    let longest = model::duration::parse(text).map_err(|_| Failure::Message(format!("time: invalid duration \"{text}\"")))?;
    Ok(ranges(BLOCK_MS, longest.0).last().copied().unwrap_or(BLOCK_MS))
}

/// Checks the whole page; the time of its first sample, if it has any.
fn first_sample(page: &[u8]) -> Result<Option<i64>, Failure> {
    let mut parser = Parser::new(page, Format::OpenMetrics);
    let mut first = None;
    while let Some(entry) = parser.next().map_err(|error| Failure::from(error).context("next"))? {
        if let Entry::Sample(sample) = entry {
            let time = sample.timestamp.ok_or_else(|| Failure::Message("expected timestamp for series got none".into()))?.0;
            first = Some(first.map_or(time, |first: i64| first.min(time)));
        }
    }
    Ok(first)
}

/// Samples of one block's range.
struct Collected {
    series: BTreeMap<Labels, Vec<(i64, f64)>>,
    /// The first sample of the page that comes after the range.
    next: Option<i64>,
}

fn collect(page: &[u8], start: i64, end: i64, added: &[(&str, &str)]) -> Result<Collected, Failure> {
    let mut parser = Parser::new(page, Format::OpenMetrics);
    let mut collected = Collected { series: BTreeMap::new(), next: None };
    while let Some(entry) = parser.next().map_err(|error| Failure::from(error).context("parse"))? {
        let Entry::Sample(sample) = entry else { continue };
        let Some(time) = sample.timestamp.map(|time| time.0) else { continue };
        if time >= end {
            collected.next = Some(collected.next.map_or(time, |next| next.min(time)));
        } else if time >= start {
            let mut labels = sample.label_set()?;
            if !added.is_empty() {
                let mut builder = LabelsBuilder::from_labels(&labels);
                added.iter().for_each(|(name, value)| {
                    builder.set(name, value);
                });
                labels = builder.build();
            }
            collected.series.entry(labels).or_default().push((time, sample.value));
        }
    }
    for samples in collected.series.values_mut() {
        samples.sort_by_key(|(time, _)| *time);
        samples.dedup_by_key(|(time, _)| *time);
    }
    Ok(collected)
}

fn write(collected: Collected, dir: &Path) -> Result<Option<Block>, Failure> {
    let times = || collected.series.values().flatten().map(|(time, _)| *time);
    let (Some(first), Some(last)) = (times().min(), times().max()) else { return Ok(None) };
    let ulid = new_ulid();
    let target = Target {
        ulid,
        min_time: first,
        max_time: last.saturating_add(1),
        segment_bytes_max: 512 << 20,
        compaction: run::of_head(ulid, Origin::default()),
        floats: Floats::Pack(FloatEncoding::Xor),
    };
    let files = blocks::files();
    let mut sources: Vec<Box<dyn SeriesSource>> = vec![Box::new(Page::of(collected))];
    let written = run::run(&files, dir, &mut sources, target, &AtomicBool::new(false))?;
    Ok(written.map(|meta| Block::open(&files, &dir.join(meta.ulid.to_string()))).transpose()?)
}

/// A name of now.
fn new_ulid() -> Ulid {
    use std::hash::{BuildHasher as _, RandomState};
    // Each state is seeded by the operating system.
    let random = || u128::from(RandomState::new().hash_one(0));
    Ulid::from_parts(u64::try_from(SystemClock.now_ms()).unwrap_or(0), random() << 64 | random())
}

/// Collected samples as what a compaction reads.
struct Page {
    /// Sorted, each once.
    symbols: Vec<String>,
    series: std::collections::btree_map::IntoIter<Labels, Vec<(i64, f64)>>,
}

impl Page {
    fn of(collected: Collected) -> Self {
        let pairs = collected.series.keys().flat_map(Labels::iter);
        let symbols: BTreeSet<&str> = pairs.flat_map(|(name, value)| [name, value]).collect();
        Self { symbols: symbols.into_iter().map(str::to_owned).collect(), series: collected.series.into_iter() }
    }
}

impl SeriesSource for Page {
    fn symbols(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(self.symbols.iter().map(String::as_str))
    }

    fn next(&mut self, series: &mut SourceSeries) -> Result<bool, SourceError> {
        series.clear();
        let Some((labels, samples)) = self.series.next() else { return Ok(false) };
        let number = |text: &str| {
            let place = self.symbols.binary_search_by(|symbol| symbol.as_str().cmp(text));
            place.expect("`of` collected the texts of all labels") as u32
        };
        series.set_labels(labels.iter().map(|(name, value)| SymbolPair { name: number(name), value: number(value) }));
        let samples: Vec<Sample> = samples.into_iter().map(|(time, value)| Sample { start: 0, time, value: Value::Float(value) }).collect();
        let options = EncodeOptions { samples_max: 480, ..EncodeOptions::default() };
        for encoded in chunk::encode(&samples, &options) {
            series.push_chunk(encoded.min_time, encoded.max_time, encoded.encoding, &encoded.bytes);
        }
        Ok(true)
    }
}

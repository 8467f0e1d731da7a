//! Compaction of blocks: against maps of samples, and over Prometheus's blocks where the conformance data is present.
#![allow(clippy::unwrap_used, reason = "tests")]

use model::{Histogram, Labels, Timestamp};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use storage::Interval;
use testkit::disk::Disk;
use tsdb::block::{self, Block, BlockOptions, BlockWriter, ChunkIn, Meta, MetaSeed};
use tsdb::chunk::{self, EncodeOptions, Sample, Value};
use tsdb::compact::read::each_series;
use tsdb::compact::run::{self, Floats, Target};
use tsdb::compact::source::{BlockSource, SeriesSource};
use tsdb::compact::{CompactError, Origin};
use tsdb::db::FloatEncoding;
use tsdb::tombstones::Tombstones;
use ulid::Ulid;
use world::{Files, RealFiles};

const KEEP: Floats = Floats::Keep(FloatEncoding::Xor);

type Series = BTreeMap<Labels, Vec<Sample>>;

fn write(files: &Arc<dyn Files>, dir: &Path, ulid: Ulid, series: &Series) -> Option<Block> {
    let symbols: std::collections::BTreeSet<&str> = series.keys().flat_map(Labels::iter).flat_map(|(name, value)| [name, value]).collect();
    let mut writer = BlockWriter::create(files, dir, &BlockOptions::new(ulid), symbols).unwrap();
    for (labels, samples) in series {
        let options = EncodeOptions { float_starts: true, histogram_starts: true, samples_max: 7, ..EncodeOptions::default() };
        let encoded = chunk::encode(samples, &options);
        let chunks: Vec<ChunkIn<'_>> =
            encoded.iter().map(|e| ChunkIn { min_time: e.min_time, max_time: e.max_time, encoding: e.encoding, bytes: &e.bytes }).collect();
        writer.add_series(labels, &chunks).unwrap();
    }
    let times = || series.values().flatten().map(|sample| sample.time);
    let seed = MetaSeed {
        min_time: times().min().unwrap_or(0),
        max_time: times().max().unwrap_or(0) + 1,
        compaction: run::of_head(ulid, Origin::default()),
        ..MetaSeed::default()
    };
    writer.finish(seed).unwrap().map(|meta| Block::open(files, &dir.join(meta.ulid.to_string())).unwrap())
}

fn sources(blocks: &[Block]) -> Vec<Box<dyn SeriesSource + '_>> {
    blocks.iter().map(|block| Box::new(BlockSource::open(block).unwrap()) as Box<dyn SeriesSource + '_>).collect()
}

fn compact(files: &Arc<dyn Files>, dir: &Path, blocks: &[Block], floats: Floats) -> Result<Option<Meta>, CompactError> {
    let metas: Vec<Arc<Meta>> = blocks.iter().map(Block::meta).collect();
    let target = Target {
        ulid: Ulid(u128::MAX >> 1),
        min_time: metas.iter().map(|meta| meta.min_time).min().unwrap(),
        max_time: metas.iter().map(|meta| meta.max_time).max().unwrap(),
        segment_bytes_max: 512 << 20,
        compaction: run::of_blocks(&metas.iter().map(|meta| &**meta).collect::<Vec<_>>()),
        floats,
    };
    run::run(files, dir, &mut sources(blocks), target, &AtomicBool::new(false))
}

/// All that is stored, hints forgotten: they follow from how samples lie in chunks.
fn stored(blocks: &[Block]) -> Series {
    let mut all = Series::new();
    let range = Interval { start: Timestamp(i64::MIN), end: Timestamp(i64::MAX) };
    each_series(
        &mut sources(blocks),
        range,
        |_| true,
        |labels, samples| {
            all.insert(labels.clone(), samples.into_iter().map(without_hint).collect());
            Ok::<_, CompactError>(())
        },
    )
    .unwrap();
    all
}

/// A sample as comparable text: what is NaN compares by its bits, empty buckets do not count.
fn without_hint(mut sample: Sample) -> Sample {
    match &mut sample.value {
        Value::Float(_) => {}
        Value::Histogram(histogram) => {
            let histogram = Arc::make_mut(histogram);
            histogram.reset_hint = Default::default();
            histogram.compact(0);
        }
        Value::FloatHistogram(histogram) => {
            let histogram = Arc::make_mut(histogram);
            histogram.reset_hint = Default::default();
            histogram.compact(0);
        }
    }
    sample
}

#[track_caller]
fn assert_same(got: &Series, want: &Series) {
    assert_eq!(got.keys().collect::<Vec<_>>(), want.keys().collect::<Vec<_>>());
    for (labels, want) in want {
        let got = &got[labels];
        assert_eq!(got.len(), want.len(), "{labels}");
        for (got, want) in got.iter().zip(want) {
            let same = match (&got.value, &want.value) {
                (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits(),
                // NaN is not itself; both print alike.
                (a, b) => format!("{a:?}") == format!("{b:?}"),
            };
            assert!(same && got.time == want.time && got.start == want.start, "{labels}: {got:?}, not {want:?}");
        }
    }
}

fn sample() -> impl Strategy<Value = (i64, u8, u32)> {
    (0i64..400, 0u8..8, any::<u32>())
}

/// Kinds of samples by `kind`; which series, by the time.
fn series_of(samples: Vec<(i64, u8, u32)>) -> Series {
    let mut by_time: BTreeMap<(u8, i64), Sample> = BTreeMap::new();
    for (time, kind, number) in samples {
        let value = match kind {
            0..=5 => Value::Float(f64::from(number)),
            _ => Value::Histogram(Arc::new(Histogram {
                count: u64::from(number),
                zero_count: u64::from(number),
                sum: 1.5,
                ..Histogram::default()
            })),
        };
        let start = if kind == 5 { time - 1 } else { 0 };
        by_time.insert((number as u8 % 3, time), Sample { start, time, value });
    }
    let mut series = Series::new();
    for ((which, _), sample) in by_time {
        series.entry(Labels::from_pairs([("__name__", "m"), ("s", &*which.to_string())])).or_default().push(sample);
    }
    series
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Blocks that overlap in any way, with tombstones: the merged block holds one sample of each time that is left somewhere,
    /// and it is one of those.
    #[test]
    fn a_merged_block_holds_what_its_sources_did(
        parts in prop::collection::vec((prop::collection::vec(sample(), 1..120), prop::collection::vec((0u32..4, 0i64..400, 0i64..50), 0..4)), 1..4),
        xor2 in any::<bool>(),
        pack in any::<bool>(),
    ) {
        let files: Arc<dyn Files> = Arc::new(Disk::new());
        let dir = PathBuf::from("/data");
        files.create_folder(&dir).unwrap();
        let mut model: BTreeMap<Labels, BTreeMap<i64, Vec<String>>> = BTreeMap::new();
        let mut blocks = Vec::new();
        for (i, (samples, deletions)) in parts.into_iter().enumerate() {
            let series = series_of(samples);
            let block = write(&files, &dir, Ulid(i as u128 + 1), &series).unwrap();
            let ids: Vec<_> = block.series_ids().unwrap().collect();
            let mut tombstones = Tombstones::new();
            for (which, start, len) in deletions {
                if let Some(id) = ids.get(which as usize) {
                    tombstones.add(u64::from(id.0), Interval { start: Timestamp(start), end: Timestamp(start + len) });
                }
            }
            for (id, (labels, samples)) in ids.iter().zip(&series) {
                for sample in samples {
                    if !tombstones.get(u64::from(id.0)).is_some_and(|deleted| deleted.covers(sample.time)) {
                        let of_time = model.entry(labels.clone()).or_default().entry(sample.time).or_default();
                        of_time.push(format!("{:?}", without_hint(sample.clone())));
                    }
                }
            }
            block.set_tombstones(tombstones).unwrap();
            blocks.push(block);
        }
        let encoding = if xor2 { FloatEncoding::Xor2 } else { FloatEncoding::Xor };
        let floats = if pack { Floats::Pack(encoding) } else { Floats::Keep(encoding) };
        let meta = compact(&files, &dir, &blocks, floats).unwrap();
        prop_assert_eq!(meta.is_none(), model.is_empty());
        let Some(meta) = meta else { return Ok(()) };
        prop_assert_eq!(meta.compaction.level, 2);
        prop_assert_eq!(&meta.compaction.sources, &blocks.iter().map(|block| block.meta().ulid).collect::<Vec<_>>());
        let merged = stored(&[Block::open(&files, &dir.join(meta.ulid.to_string())).unwrap()]);
        prop_assert_eq!(merged.keys().collect::<Vec<_>>(), model.keys().collect::<Vec<_>>());
        for (labels, samples) in &merged {
            let model = &model[labels];
            prop_assert_eq!(samples.iter().map(|s| s.time).collect::<Vec<_>>(), model.keys().copied().collect::<Vec<_>>());
            for sample in samples {
                let text = format!("{:?}", without_hint(sample.clone()));
                prop_assert!(model[&sample.time].contains(&text), "{text}, not one of {:?}", model[&sample.time]);
            }
        }
        let count: usize = merged.values().map(Vec::len).sum();
        prop_assert_eq!(meta.stats.samples, count as u64);
    }
}

#[test]
fn a_cancelled_compaction_leaves_nothing() {
    let files: Arc<dyn Files> = Arc::new(Disk::new());
    let dir = PathBuf::from("/data");
    files.create_folder(&dir).unwrap();
    let block = write(&files, &dir, Ulid(1), &series_of((0..50).map(|i| (i, 0, i as u32)).collect())).unwrap();
    let target = Target {
        ulid: Ulid(2),
        min_time: 0,
        max_time: 50,
        segment_bytes_max: 512 << 20,
        compaction: run::of_block(Ulid(2), &block.meta()),
        floats: KEEP,
    };
    let blocks = [block];
    let cancelled = run::run(&files, &dir, &mut sources(&blocks), target, &AtomicBool::new(true));
    assert!(matches!(cancelled, Err(CompactError::Cancelled)));
    assert_eq!(files.list(&dir).unwrap(), [blocks[0].dir().to_owned()]);
}

#[test]
fn metas_of_merged_blocks() {
    let meta = |ulid: u128, level, sources: &[u128], hints: &[&str]| Meta {
        ulid: Ulid(ulid),
        min_time: ulid as i64,
        max_time: ulid as i64 + 10,
        compaction: block::Compaction {
            level,
            sources: sources.iter().map(|&source| Ulid(source)).collect(),
            hints: hints.iter().map(|&hint| hint.to_owned()).collect(),
            ..block::Compaction::default()
        },
        ..Meta::default()
    };
    let (a, b) = (meta(7, 2, &[3, 1], &["from-out-of-order"]), meta(8, 1, &[8, 3], &[]));
    let merged = run::of_blocks(&[&a, &b]);
    assert_eq!((merged.level, merged.sources), (3, vec![Ulid(1), Ulid(3), Ulid(8)]));
    assert_eq!(merged.parents.iter().map(|p| (p.ulid.0, p.min_time, p.max_time)).collect::<Vec<_>>(), [(7, 7, 17), (8, 8, 18)]);
    assert!(merged.hints.is_empty(), "in-order samples are in it");
    assert_eq!(run::of_blocks(&[&a, &a]).hints, ["from-out-of-order"]);
    let stale = meta(9, 1, &[9], &["from-stale-series"]);
    assert_eq!(run::of_blocks(&[&stale, &b]).hints, ["from-stale-series"]);
    let rewritten = run::of_block(Ulid(20), &a);
    assert_eq!((rewritten.level, rewritten.sources, rewritten.hints), (1, vec![Ulid(20)], vec!["from-out-of-order".to_owned()]));
}

fn conformance() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let named = std::env::var_os("PYROPE_CONFORMANCE").map(PathBuf::from);
    let candidates = named.into_iter().chain([root.join("../shared/conformance"), root.join("shared/conformance")]);
    let found = candidates.map(|folder| folder.join("tsdb")).find(|folder| folder.is_dir());
    if found.is_none() {
        eprintln!("skipped: no conformance data");
    }
    found
}

#[test]
fn blocks_of_prometheus_are_merged_without_loss() {
    let Some(tsdb) = conformance() else { return };
    let files: Arc<dyn Files> = Arc::new(RealFiles);
    for case in ["data_a", "data_c", "data_e"] {
        let folders = block::folders(&RealFiles, &tsdb.join(case).join("data")).unwrap();
        let blocks: Vec<Block> = folders.iter().map(|(_, dir)| Block::open(&files, dir).unwrap()).collect();
        let want = stored(&blocks);
        for floats in [KEEP, Floats::Keep(FloatEncoding::Xor2), Floats::Pack(FloatEncoding::Xor), Floats::Pack(FloatEncoding::Xor2)] {
            let temp = tempfile::tempdir().unwrap();
            let meta = compact(&files, temp.path(), &blocks, floats).unwrap().unwrap();
            let merged = Block::open(&files, &temp.path().join(meta.ulid.to_string())).unwrap();
            assert_same(&stored(&[merged]), &want);
        }
    }
}

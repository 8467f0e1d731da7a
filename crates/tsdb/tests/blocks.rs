//! Blocks of Prometheus's: opened, read, and written again byte for byte, where the conformance data is present.
#![allow(clippy::unwrap_used, reason = "tests")]

use model::{Labels, MatchOp, Matcher, Timestamp};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use storage::{Column, Interval, Queryable, SelectHints};
use tsdb::block::{self, Block, BlockOptions, BlockWriter, ChunkIn, MetaSeed, SeriesEntry};
use world::{Files, RealFiles};

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

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::write(target, std::fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}

fn files() -> Arc<dyn Files> {
    Arc::new(RealFiles)
}

/// Writes a block's series again, chunks verbatim.
fn write_again(block: &Block, data_dir: &Path) -> PathBuf {
    let meta = block.meta();
    let mut writer = BlockWriter::create(&files(), data_dir, &BlockOptions::new(meta.ulid), block.symbols()).unwrap();
    let mut entry = SeriesEntry::default();
    for id in block.series_ids().unwrap() {
        block.series(id, &mut entry).unwrap();
        let chunks: Vec<ChunkIn<'_>> = entry
            .chunks
            .iter()
            .map(|chunk| {
                let (encoding, bytes) = block.chunk(chunk.chunk_ref).unwrap();
                ChunkIn { min_time: chunk.min_time, max_time: chunk.max_time, encoding, bytes }
            })
            .collect();
        writer.add_series(&entry.labels, &chunks).unwrap();
    }
    let compaction = meta.compaction.clone();
    let seed = MetaSeed { min_time: meta.min_time, max_time: meta.max_time, compaction, extra: meta.extra.clone() };
    let written = writer.finish(seed).unwrap().unwrap();
    assert_eq!(
        (written.stats.samples, written.stats.series, written.stats.chunks),
        (meta.stats.samples, meta.stats.series, meta.stats.chunks)
    );
    data_dir.join(meta.ulid.to_string())
}

/// Symbols and series, and postings, of an index: what is the same whether label indices are written or not, as 3.14 does not.
fn sections(index: &[u8]) -> [std::ops::Range<usize>; 2] {
    let toc: Vec<usize> =
        index[index.len() - 52..index.len() - 4].chunks(8).map(|n| u64::from_be_bytes(n.try_into().unwrap()) as usize).collect();
    let [_, _, label_indices, label_indices_table, postings, _] = toc[..] else { unreachable!() };
    [0..label_indices, postings.next_multiple_of(4)..label_indices_table]
}

#[test]
fn a_block_of_prometheus_is_written_again_byte_for_byte() {
    let Some(tsdb) = conformance() else { return };
    let mut blocks = 0;
    for case in ["data_a", "data_c", "data_e"] {
        for (_, dir) in block::folders(&RealFiles, &tsdb.join(case).join("data")).unwrap() {
            let temp = tempfile::tempdir().unwrap();
            let block = Block::open(&files(), &dir).unwrap();
            let written = write_again(&block, temp.path());
            let both = |name| (std::fs::read(dir.join(name)).unwrap(), std::fs::read(written.join(name)).unwrap());
            let (chunks, chunks_again) = both("chunks/000001");
            assert!(chunks == chunks_again, "{dir:?}");
            let (index, index_again) = both("index");
            for (section, again) in sections(&index).into_iter().zip(sections(&index_again)) {
                assert!(index[section] == index_again[again], "{dir:?}");
            }
            assert!(index == index_again || case == "data_a", "{dir:?}");
            // The meta is Prometheus's own but for what it did not count.
            let mut meta = (*block.meta()).clone();
            assert_eq!(meta.to_json().as_bytes(), std::fs::read(dir.join("meta.json")).unwrap());
            let again = Block::open(&files(), &written).unwrap();
            assert!(again.tombstones().is_empty());
            meta.stats.tombstones = 0;
            (meta.stats.float_samples, meta.stats.histogram_samples) =
                (again.meta().stats.float_samples, again.meta().stats.histogram_samples);
            assert_eq!(*again.meta(), meta);
            assert_eq!(block.tombstones().interval_count(), block.meta().stats.tombstones);
            // Prometheus's are in no order.
            let encoded = block::tombstones::encode(&block.tombstones());
            assert_eq!(encoded.len() as u64, RealFiles.len(&dir.join("tombstones")).unwrap());
            assert_eq!(block::tombstones::decode(&encoded).unwrap(), *block.tombstones());
            blocks += 1;
        }
    }
    assert!(blocks > 3, "{blocks}");
}

fn all(block: &Block, matcher: Matcher, range: (i64, i64)) -> Vec<(Labels, Vec<(i64, f64)>)> {
    let range = Interval { start: Timestamp(range.0), end: Timestamp(range.1) };
    let selection = block.select(range, &[matcher], &SelectHints::default()).unwrap();
    assert_eq!(selection.warnings, Vec::<String>::new());
    let decoded = selection.series.iter().map(|series| {
        let mut column = Column::default();
        series.decode(range, &mut column).unwrap();
        (series.labels().clone(), column.times.into_iter().zip(column.values).collect())
    });
    decoded.collect()
}

#[test]
fn an_index_of_version_1_is_read() {
    let Some(tsdb) = conformance() else { return };
    let block = Block::open(&files(), &tsdb.join("index_format_v1")).unwrap();
    let expected = vec![(Labels::from_pairs([("foo", "bar")]), vec![(1, 2.0)]), (Labels::from_pairs([("foo", "baz")]), vec![(3, 4.0)])];
    for matcher in [Matcher::new(MatchOp::NotRegex, "foo", "^.?$").unwrap(), Matcher::new(MatchOp::Regex, "foo", "ba.").unwrap()] {
        assert_eq!(all(&block, matcher, (0, 1000)), expected);
    }
    assert_eq!(all(&block, Matcher::equal("foo", "baz"), (0, 1000)), expected[1..]);
    let range = Interval { start: Timestamp(0), end: Timestamp(1000) };
    assert_eq!(block.label_names(range, &[vec![Matcher::equal("foo", "baz")]], &SelectHints::default()).unwrap().names, ["foo"]);
    assert_eq!(block.label_values("foo", range, &[], &SelectHints::default()).unwrap().names, ["bar", "baz"]);
    assert_eq!(block.label_values("foo", range, &[vec![Matcher::equal("foo", "baz")]], &SelectHints::default()).unwrap().names, ["baz"]);
}

#[test]
fn the_index_version_that_prometheus_2_1_wrote_is_repaired() {
    let Some(tsdb) = conformance() else { return };
    let temp = tempfile::tempdir().unwrap();
    copy(&tsdb.join("repair_index_version"), temp.path());
    let (_, dir) = block::folders(&RealFiles, temp.path()).unwrap().remove(0);
    std::fs::create_dir_all(dir.join("chunks")).unwrap();
    assert!(Block::open(&files(), &dir).is_err());
    assert!(block::repair_version(&RealFiles, &dir).unwrap());
    assert!(!block::repair_version(&RealFiles, &dir).unwrap());
    let block = Block::open(&files(), &dir).unwrap();
    let range = Interval { start: Timestamp::MIN, end: Timestamp(i64::MAX) };
    let b1 = [vec![Matcher::equal("b", "1")]];
    assert_eq!(block.label_names(range, &b1, &SelectHints::default()).unwrap().names, ["a", "b"]);
    assert_eq!(block.label_values("a", range, &b1, &SelectHints::default()).unwrap().names, ["1", "2"]);
    assert_eq!(block.label_values("b", range, &b1, &SelectHints::default()).unwrap().names, ["1"]);
}

//! Blocks against a list of samples, against damage, and against a disk that fails.
#![allow(clippy::unwrap_used, reason = "tests")]

use model::{Labels, MatchOp, Matcher, Timestamp};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use storage::{Column, Interval, Queryable, SelectError, SelectHints};
use testkit::disk::{Disk, Fault, Tear};
use tsdb::block::{self, Block, BlockError, BlockOptions, BlockWriter, ChunkIn, Compaction, Meta, MetaSeed, Parent};
use tsdb::chunk::{EncodeOptions, Sample, Value, encode};
use tsdb::tombstones::Tombstones;
use ulid::Ulid;
use world::{Files, RealFiles};

#[path = "../../../fuzz/fuzz_targets/block_walk.rs"]
mod block_walk;

const ULID: Ulid = Ulid::from_parts(1_700_000_000_000, 7);
const END: i64 = 1000;

type Samples = Vec<(i64, f64)>;
type AllSeries = BTreeMap<Labels, Samples>;

fn data_dir() -> PathBuf {
    PathBuf::from("/data")
}

fn block_dir() -> PathBuf {
    data_dir().join(ULID.to_string())
}

fn write(
    files: &Arc<dyn Files>,
    data_dir: &Path,
    all: &AllSeries,
    samples_max: u16,
    segment_bytes_max: u64,
) -> Result<Option<Meta>, BlockError> {
    let symbols: BTreeSet<&str> = all.keys().flat_map(|labels| labels.iter().flat_map(|(name, value)| [name, value])).collect();
    let mut writer = BlockWriter::create(files, data_dir, &BlockOptions { ulid: ULID, segment_bytes_max }, symbols)?;
    for (labels, samples) in all {
        let samples: Vec<Sample> =
            samples.iter().map(|(time, value)| Sample { start: 0, time: *time, value: Value::Float(*value) }).collect();
        let encoded = encode(&samples, &EncodeOptions { samples_max, ..EncodeOptions::default() });
        let chunk = |e: &'_ tsdb::chunk::Encoded| (e.min_time, e.max_time, e.encoding, e.bytes.clone());
        let held: Vec<_> = encoded.iter().map(chunk).collect();
        let chunks: Vec<ChunkIn<'_>> =
            held.iter().map(|(min, max, encoding, bytes)| ChunkIn { min_time: *min, max_time: *max, encoding: *encoding, bytes }).collect();
        writer.add_series(labels, &chunks)?;
    }
    writer.finish(MetaSeed {
        min_time: 0,
        max_time: END,
        compaction: Compaction { level: 1, sources: vec![ULID], ..Compaction::default() },
        ..MetaSeed::default()
    })
}

fn interval(start: i64, end: i64) -> Interval {
    Interval { start: Timestamp(start), end: Timestamp(end) }
}

/// All that a selection gives; an error of any series is the selection's.
fn read(block: &Block, range: Interval, matchers: &[Matcher]) -> Result<(AllSeries, Vec<String>), SelectError> {
    let selection = block.select(range, matchers, &SelectHints::default())?;
    let mut all = AllSeries::new();
    for series in &selection.series {
        let mut column = Column::default();
        series.decode(range, &mut column)?;
        all.insert(series.labels().clone(), column.times.into_iter().zip(column.values).collect());
    }
    assert!(selection.series.iter().map(|series| series.labels()).is_sorted());
    Ok((all, selection.warnings))
}

fn everything(block: &Block) -> Result<(AllSeries, Vec<String>), SelectError> {
    read(block, interval(i64::MIN, i64::MAX), &[])
}

fn series() -> impl Strategy<Value = AllSeries> {
    let labels = ("[ab]?", "[a-e]{0,2}", 0u32..90).prop_map(|(a, b, id)| {
        let id = format!("{id:02}");
        Labels::from_pairs([("a", a.as_str()), ("b", b.as_str()), ("é", &id)])
    });
    let samples = (prop::collection::btree_set(0..END, 1..40), 0u32..1000)
        .prop_map(|(times, seed)| times.into_iter().map(|time| (time, f64::from(seed) + time as f64 / 7.0)).collect());
    prop::collection::btree_map(labels, samples, 1..120)
}

fn matcher() -> impl Strategy<Value = Matcher> {
    let op = prop::sample::select(vec![MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex]);
    let value =
        prop_oneof!["[ab]?", "[a-e]{1,2}", "0[0-9]", Just("[01].*".to_owned()), Just("a|b|ab|00|01|77".to_owned()), Just(".+".to_owned())];
    (op, prop::sample::select(vec!["a", "b", "é", "nope"]), value).prop_map(|(op, name, value)| Matcher::new(op, name, value).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_block_gives_what_was_written(
        all in series(),
        matchers in prop::collection::vec(matcher(), 0..4),
        (first, last) in (0..END, 0..END),
        samples_max in 1u16..50,
        segment_bytes_max in 64u64..4096,
        deleted in prop::collection::vec((0usize..120, 0..END, 0..END / 4), 0..6),
    ) {
        let files: Arc<dyn Files> = Arc::new(Disk::new());
        files.create_folder(&data_dir()).unwrap();
        let meta = write(&files, &data_dir(), &all, samples_max, segment_bytes_max).unwrap().unwrap();
        let block = Block::open(&files, &block_dir()).unwrap();
        prop_assert_eq!(&*block.meta(), &meta);
        prop_assert_eq!(meta.stats.samples, all.values().map(|samples| samples.len() as u64).sum::<u64>());
        prop_assert_eq!(everything(&block).unwrap(), (all.clone(), Vec::new()));

        let ids: Vec<_> = block.series_ids().unwrap().collect();
        prop_assert_eq!(ids.len(), all.len());
        let mut tombstones = Tombstones::new();
        for (at, start, len) in &deleted {
            if let Some(id) = ids.get(*at) {
                tombstones.add(id.0.into(), interval(*start, start + len));
            }
        }
        block.set_tombstones(tombstones).unwrap();
        let block = Block::open(&files, &block_dir()).unwrap();
        prop_assert_eq!(block.meta().stats.tombstones, block.tombstones().interval_count());

        let range = interval(first, last);
        let is_deleted = |at: usize, time: i64| deleted.iter().any(|(series, start, len)| *series == at && (*start..=start + len).contains(&time));
        let satisfies = |labels: &Labels| matchers.iter().all(|matcher| matcher.matches(labels.get(&matcher.name).unwrap_or("")));
        let matching: Vec<(usize, &Labels, &Samples)> =
            all.iter().enumerate().map(|(at, (labels, samples))| (at, labels, samples)).filter(|(_, labels, _)| satisfies(labels)).collect();
        let mut expected = AllSeries::new();
        for (at, labels, samples) in &matching {
            let kept: Samples = samples.iter().copied().filter(|(time, _)| (first..=last).contains(time) && !is_deleted(*at, *time)).collect();
            if !kept.is_empty() {
                expected.insert((*labels).clone(), kept);
            }
        }
        let (mut got, warnings) = read(&block, range, &matchers).unwrap();
        prop_assert_eq!(warnings, Vec::<String>::new());
        let only = SelectHints { labels_only: true, ..SelectHints::default() };
        let listed: Vec<Labels> = block.select(range, &matchers, &only).unwrap().series.iter().map(|series| series.labels().clone()).collect();
        prop_assert_eq!(&listed, &got.keys().cloned().collect::<Vec<_>>());
        // Series with a chunk that overlaps the range, but no sample in it, may be there.
        got.retain(|_, samples| !samples.is_empty());
        prop_assert_eq!(got, expected);

        let anytime = interval(0, END);
        let sets = [matchers.clone()];
        let names: BTreeSet<&str> = matching.iter().flat_map(|(_, labels, _)| labels.iter().map(|(name, _)| name)).collect();
        prop_assert_eq!(block.label_names(anytime, &sets, &SelectHints::default()).unwrap().names, Vec::from_iter(names));
        for name in ["a", "b", "é", "nope"] {
            let values: BTreeSet<&str> = matching.iter().filter_map(|(_, labels, _)| labels.get(name)).collect();
            prop_assert_eq!(block.label_values(name, anytime, &sets, &SelectHints::default()).unwrap().names, Vec::from_iter(values));
            let values: BTreeSet<&str> = all.keys().filter_map(|labels| labels.get(name)).collect();
            prop_assert_eq!(block.label_values(name, anytime, &[], &SelectHints::default()).unwrap().names, Vec::from_iter(values));
        }
        prop_assert!(block.label_values("a", interval(END, END + 5), &[], &SelectHints::default()).unwrap().names.is_empty());
    }
}

/// Lists of one series, of some thousand, and of more than are made sets of.
#[test]
fn lists_of_any_length_are_intersected() {
    let labels = |id: usize| Labels::from_pairs([("all", "x"), ("half", ["0", "1"][id % 2]), ("id", &format!("{id:04}"))]);
    let all: AllSeries = (0..6000).map(|id| (labels(id), [(0, 1.0)].into())).collect();
    let files: Arc<dyn Files> = Arc::new(Disk::new());
    files.create_folder(&data_dir()).unwrap();
    write(&files, &data_dir(), &all, 10, 1 << 20).unwrap();
    let block = Block::open(&files, &block_dir()).unwrap();
    let pairs = [("all", "x"), ("all", "y"), ("half", "0"), ("half", "1"), ("id", "0017"), ("id", "0018"), ("id", ""), ("nope", "z")];
    let equal = |(name, value): (&str, &str)| Matcher::new(MatchOp::Equal, name, value.to_owned()).unwrap();
    for (one, other) in pairs.iter().flat_map(|one| pairs.map(|other| (*one, other))) {
        let wanted = |labels: &&Labels| [one, other].iter().all(|(name, value)| labels.get(name).unwrap_or("") == *value);
        let (got, _) = read(&block, interval(0, 1), &[equal(one), equal(other)]).unwrap();
        assert!(got.keys().eq(all.keys().filter(wanted)), "{one:?} {other:?}");
    }
}

static SOUND_INDEX: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let files: Arc<dyn Files> = Arc::new(Disk::new());
    files.create_folder(&data_dir()).unwrap();
    write(&files, &data_dir(), &sample_series(), 10, 1 << 20).unwrap();
    files.read(&block_dir().join("index")).unwrap()
});

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        "[a-z\"\n<é]{0,5}".prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(3, 10, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(serde_json::Value::from),
            prop::collection::btree_map("[a-z ]{0,4}", inner, 0..3).prop_map(|fields| fields.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn an_index_that_lies_with_right_checksums_does_no_harm(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in prop::option::weighted(0.1, any::<prop::sample::Index>()),
    ) {
        let mut index = SOUND_INDEX.clone();
        if let Some(cut) = cut {
            let (at, end) = (cut.index(index.len()), index.len() - 52);
            index.drain(at.min(end)..end);
        }
        for (at, byte) in changes {
            let at = at.index(index.len());
            index[at] = byte;
        }
        block_walk::walk(index);
    }

    #[test]
    fn a_meta_keeps_what_others_wrote(
        (samples, min_time, level) in (any::<u64>(), any::<i64>(), any::<u32>()),
        (deletable, hints, parents) in (any::<bool>(), prop::collection::vec("[a-z\"-]{0,9}", 0..3), prop::collection::vec(any::<(i64, i64)>(), 0..3)),
        extra in prop::collection::btree_map("x[a-z]{0,4}", json(), 0..4),
    ) {
        let extra: serde_json::Map<String, serde_json::Value> = extra.into_iter().collect();
        let parents = parents.into_iter().map(|(min_time, max_time)| Parent { ulid: ULID, min_time, max_time }).collect();
        let compaction = Compaction { level, sources: vec![ULID; 2], deletable, parents, failed: deletable, hints, extra: extra.clone() };
        let stats = block::Stats { samples, tombstones: 3, extra: extra.clone(), ..block::Stats::default() };
        let meta = Meta { ulid: ULID, min_time, max_time: -min_time.saturating_add(1), stats, compaction, extra };
        prop_assert_eq!(Meta::parse(meta.to_json().as_bytes()), Ok((meta, 1)));
    }
}

#[test]
fn a_meta_of_thanos_is_read_and_written_as_it_was() {
    let text = "{\n\t\"ulid\": \"01M7YBQH33V2E5AX77FJK89DMT\",\n\t\"minTime\": 1,\n\t\"maxTime\": 2,\n\t\"stats\": {},\n\t\"compaction\": {\n\t\t\"level\": 1,\n\t\t\
                \"hints\": [\n\t\t\t\"from-out-of-order\"\n\t\t]\n\t},\n\t\"version\": 1,\n\t\"thanos\": {\n\t\t\"downsample\": {\n\t\t\t\"resolution\": 0\n\t\t},\n\t\t\"labels\": {}\n\t}\n}";
    let (meta, _) = Meta::parse(text.as_bytes()).unwrap();
    assert_eq!(meta.compaction.hints, [block::meta::HINT_OUT_OF_ORDER]);
    assert_eq!(meta.to_json(), text);
    for bad in ["", "[]", "{\"version\":1,\"minTime\":\"1\"}", "{\"ulid\":\"x\"}", "{\"compaction\":{\"sources\":[1]}}", "{\"stats\":[]}"] {
        assert!(Meta::parse(bad.as_bytes()).is_err(), "{bad}");
    }
}

/// Some forty series with three chunks each.
fn sample_series() -> AllSeries {
    let labels = |id: i64| {
        let id = format!("{id:02}");
        Labels::from_pairs([("__name__", "up"), ("id", &id), ("mod", &id[1..])])
    };
    (0..40).map(|id| (labels(id), (0..30).map(|at| (at * 10 + id % 7, (at * id) as f64)).collect())).collect()
}

#[test]
fn a_damaged_byte_is_noticed_or_changes_nothing() {
    let disk = Disk::new();
    let files: Arc<dyn Files> = Arc::new(disk.clone());
    files.create_folder(&data_dir()).unwrap();
    let all = sample_series();
    write(&files, &data_dir(), &all, 10, 4096).unwrap();
    let block = Block::open(&files, &block_dir()).unwrap();
    let mut tombstones = Tombstones::new();
    tombstones.add(block.series_ids().unwrap().next().unwrap().0.into(), interval(0, 20));
    block.set_tombstones(tombstones).unwrap();
    let (expected, _) = everything(&block).unwrap();
    let matchers = [Matcher::equal("mod", "3"), Matcher::new(MatchOp::NotRegex, "id", "[01].").unwrap()];
    let (expected_some, _) = read(&block, interval(0, 100), &matchers).unwrap();
    assert_eq!(expected_some.len(), 2);
    let mut noticed = [0; 3];
    for name in ["index", "chunks/000001", "chunks/000002", "tombstones"] {
        let path = block_dir().join(name);
        let sound = files.read(&path).unwrap();
        for at in 0..sound.len() {
            let mut bytes = sound.clone();
            bytes[at] ^= 1 << (at % 8);
            disk.put(&path, bytes);
            let Ok(block) = Block::open(&files, &block_dir()) else {
                noticed[0] += 1;
                continue;
            };
            match everything(&block) {
                Err(_) => noticed[1] += 1,
                Ok((_, warnings)) if !warnings.is_empty() => noticed[2] += 1,
                Ok((got, _)) => assert_eq!(got, expected, "{name} {at}"),
            }
            if let Ok((got, warnings)) = read(&block, interval(0, 100), &matchers)
                && warnings.is_empty()
            {
                assert_eq!(got, expected_some, "{name} {at}");
            }
            drop((
                block.label_names(interval(0, 10), &[vec![]], &SelectHints::default()),
                block.label_values("id", interval(0, 10), &[vec![]], &SelectHints::default()),
            ));
            for cut in [at, at / 2] {
                disk.put(&path, sound[..cut].to_vec());
                if let Ok(block) = Block::open(&files, &block_dir()) {
                    drop(everything(&block));
                }
            }
        }
        disk.put(&path, sound);
    }
    assert!(noticed.iter().all(|count| *count > 100), "{noticed:?}");
    assert_eq!(everything(&Block::open(&files, &block_dir()).unwrap()).unwrap(), (expected, Vec::new()));
}

#[test]
fn a_damaged_chunk_or_entry_costs_only_itself() {
    let disk = Disk::new();
    let files: Arc<dyn Files> = Arc::new(disk.clone());
    files.create_folder(&data_dir()).unwrap();
    let all = sample_series();
    write(&files, &data_dir(), &all, 10, 1 << 20).unwrap();
    let block = Block::open(&files, &block_dir()).unwrap();
    let id = block.series_ids().unwrap().nth(1).unwrap();

    let path = block_dir().join("index");
    let mut bytes = files.read(&path).unwrap();
    bytes[id.0 as usize * 16 + 3] ^= 1;
    disk.put(&path, bytes);
    let (got, warnings) = everything(&Block::open(&files, &block_dir()).unwrap()).unwrap();
    assert_eq!((got.len(), warnings.len()), (all.len() - 1, 1));
    assert!(warnings[0].contains("invalid checksum"), "{warnings:?}");

    let path = block_dir().join("chunks/000001");
    let mut bytes = files.read(&path).unwrap();
    bytes[20] ^= 1;
    disk.put(&path, bytes);
    let block = Block::open(&files, &block_dir()).unwrap();
    let selection = block.select(interval(0, END), &[Matcher::equal("id", "00")], &SelectHints::default()).unwrap();
    let mut column = Column::default();
    let error = selection.series[0].decode(interval(0, END), &mut column).unwrap_err().to_string();
    assert!(error.contains("checksum mismatch"), "{error}");
    assert_eq!(column.times, (10..30).map(|at| at * 10).collect::<Vec<_>>());
}

#[test]
fn a_power_cut_leaves_the_whole_block_or_none() {
    let all: AllSeries = sample_series().into_iter().take(5).collect();
    let mut published = 0;
    for tear in [Tear::Lost, Tear::Half, Tear::Zeros, Tear::Kept] {
        for operation in 1.. {
            let disk = Disk::new();
            let files: Arc<dyn Files> = Arc::new(disk.clone());
            files.create_folder(&data_dir()).unwrap();
            disk.set_fault(Some(Fault::PowerOff(operation)));
            let written = write(&files, &data_dir(), &all, 10, 256);
            let after: Arc<dyn Files> = Arc::new(disk.after_power_cut(tear));
            for (ulid, dir) in block::folders(&*after, &data_dir()).unwrap() {
                assert_eq!(ulid, ULID);
                assert_eq!(everything(&Block::open(&after, &dir).unwrap()).unwrap().0, all);
                published += 1;
            }
            if written.is_ok() {
                break;
            }
        }
    }
    assert!(published >= 4, "{published}");
}

#[test]
fn a_failed_operation_leaves_the_whole_block_or_nothing() {
    let all: AllSeries = sample_series().into_iter().take(5).collect();
    for operation in 1.. {
        let disk = Disk::new();
        let files: Arc<dyn Files> = Arc::new(disk.clone());
        files.create_folder(&data_dir()).unwrap();
        disk.set_fault(Some(Fault::Once(operation, std::io::ErrorKind::StorageFull)));
        let written = write(&files, &data_dir(), &all, 10, 256);
        disk.set_fault(None);
        let left = files.list(&data_dir()).unwrap();
        assert!(left.is_empty() || left == [block_dir()], "{left:?}");
        if !left.is_empty() {
            assert_eq!(everything(&Block::open(&files, &block_dir()).unwrap()).unwrap().0, all);
        }
        if written.is_ok() {
            break;
        }
        assert!(operation < 1000);
    }
}

#[test]
fn a_block_without_samples_is_none_and_a_deleted_one_is_gone() {
    let files: Arc<dyn Files> = Arc::new(Disk::new());
    files.create_folder(&data_dir()).unwrap();
    assert_eq!(write(&files, &data_dir(), &AllSeries::new(), 10, 256).unwrap(), None);
    assert!(files.list(&data_dir()).unwrap().is_empty());
    let all = sample_series();
    write(&files, &data_dir(), &all, 10, 256).unwrap();
    let block = Block::open(&files, &block_dir()).unwrap();
    block::delete(&*files, &block_dir()).unwrap();
    assert!(files.list(&data_dir()).unwrap().is_empty());
    assert_eq!(everything(&block).unwrap().0, all);
}

#[test]
fn what_is_out_of_order_is_refused() {
    let files: Arc<dyn Files> = Arc::new(Disk::new());
    files.create_folder(&data_dir()).unwrap();
    let options = BlockOptions::new(ULID);
    assert!(BlockWriter::create(&files, &data_dir(), &options, ["b", "a"]).is_err());
    assert!(files.list(&data_dir()).unwrap().is_empty());
    let writer = || BlockWriter::create(&files, &data_dir(), &options, ["a", "b"]).unwrap();
    let (a, b) = (Labels::from_pairs([("a", "a")]), Labels::from_pairs([("a", "b")]));
    assert!(writer().add_series(&Labels::empty(), &[]).is_err());
    assert!(writer().add_series(&Labels::from_pairs([("a", "c")]), &[]).unwrap_err().to_string().contains("does not exist"));
    let mut repeated = writer();
    repeated.add_series(&b, &[]).unwrap();
    assert!(repeated.add_series(&b, &[]).is_err());
    drop(repeated);
    let mut descending = writer();
    descending.add_series(&b, &[]).unwrap();
    assert!(descending.add_series(&a, &[]).is_err());
    drop(descending);
    let chunk = |min_time, max_time| ChunkIn { min_time, max_time, encoding: tsdb::chunk::Encoding::Xor, bytes: &[0, 0] };
    assert!(writer().add_series(&a, &[chunk(0, 5), chunk(5, 6)]).is_err());
    assert!(writer().add_series(&a, &[chunk(6, 5)]).is_err());
    assert!(files.list(&data_dir()).unwrap().is_empty());
}

#[test]
fn an_index_cut_while_it_is_open_gives_errors() {
    let temp = tempfile::tempdir().unwrap();
    let files: Arc<dyn Files> = Arc::new(RealFiles);
    write(&files, temp.path(), &sample_series(), 10, 1 << 20).unwrap();
    let dir = temp.path().join(ULID.to_string());
    let block = Block::open(&files, &dir).unwrap();
    assert_eq!(everything(&block).unwrap().0, sample_series());
    let selection = block.select(interval(0, END), &[], &SelectHints::default()).unwrap();
    for name in ["index", "chunks/000001"] {
        std::fs::OpenOptions::new().write(true).open(dir.join(name)).unwrap().set_len(0).unwrap();
    }
    assert!(selection.series[0].decode(interval(0, END), &mut Column::default()).is_err());
    assert!(everything(&block).is_err());
    assert!(block.label_values("id", interval(0, END), &[], &SelectHints::default()).is_err());
    assert!(block.label_names(interval(0, END), &[vec![Matcher::equal("id", "01")]], &SelectHints::default()).is_err());
}

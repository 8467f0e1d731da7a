//! A walk through all that an index may claim, for a fuzzer and for a test.

use model::{MatchOp, Matcher, Timestamp};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use storage::{Column, Interval, Queryable, SelectHints};
use testkit::disk::Disk;
use tsdb::block::{Block, Meta, SeriesEntry};
use world::Files;

/// Opens a block with these bytes as its index, their checksums put right, and asks all there is to ask.
pub fn walk(mut index: Vec<u8>) {
    put_right(&mut index);
    let disk = Disk::new();
    let files: Arc<dyn Files> = Arc::new(disk.clone());
    let dir = PathBuf::from("/data/01M7YBQH33V2E5AX77FJK89DMT");
    files.create_folder(&dir.join("chunks")).expect("nothing fails here");
    let put = |name: &str, bytes: Vec<u8>| disk.put(&dir.join(Path::new(name)), bytes);
    put("meta.json", Meta { max_time: i64::MAX, ..Meta::default() }.to_json().into_bytes());
    put("chunks/000001", [&[0x85, 0xbd, 0x40, 0xdd, 1, 0, 0, 0][..], &index].concat());
    put("index", index);
    let Ok(block) = Block::open(&files, &dir) else { return };
    let mut entry = SeriesEntry::default();
    for id in block.series_ids().into_iter().flatten() {
        if block.series(id, &mut entry).is_ok() {
            entry.chunks.iter().for_each(|chunk| drop(block.chunk(chunk.chunk_ref)));
        }
    }
    assert!(block.symbols().count() <= block.size_bytes() as usize);
    let range = Interval { start: Timestamp(0), end: Timestamp(i64::MAX) };
    let names = block.label_names(range, &[], &SelectHints::default()).map(|names| names.names).unwrap_or_default();
    for name in names.iter().take(4).map(String::as_str).chain(["a"]) {
        let values = block.label_values(name, range, &[], &SelectHints::default()).map(|values| values.names).unwrap_or_default();
        let value = values.last().map_or("b", String::as_str);
        for (op, value) in [(MatchOp::Equal, value), (MatchOp::NotEqual, value), (MatchOp::Regex, "a.*|b"), (MatchOp::NotRegex, ".+")] {
            let matchers = vec![Matcher::new(op, name, value).expect("a good expression")];
            for series in block.select(range, &matchers, &SelectHints::default()).into_iter().flat_map(|selection| selection.series) {
                drop(series.decode(range, &mut Column::default()));
            }
            drop(block.label_names(range, std::slice::from_ref(&matchers), &SelectHints::default()));
            drop(block.label_values(name, range, &[matchers], &SelectHints::default()));
        }
    }
}

/// Fixes those of the table of contents, of both tables, and of as many series entries and postings lists as follow each other.
fn put_right(index: &mut [u8]) {
    let Some(toc) = index.len().checked_sub(52) else { return };
    fix(index, toc, 48);
    let place =
        |at: usize| usize::try_from(u64::from_be_bytes(index[toc + 8 * at..][..8].try_into().expect("eight bytes"))).unwrap_or(usize::MAX);
    let [symbols, series, label_indices, label_indices_table, postings, table] = [0, 1, 2, 3, 4, 5].map(place);
    for section in [symbols, table] {
        fix_section(index, section);
    }
    let mut at = series;
    while at < label_indices
        && let Some(start) = at.checked_next_multiple_of(16)
        && let Some((len, bytes)) = uvarint(index, start)
        && let Some(end) = fix(index, start + bytes, len)
    {
        at = end;
    }
    let mut at = postings;
    while at < label_indices_table
        && let Some(start) = at.checked_next_multiple_of(4)
        && let Some(end) = fix_section(index, start)
    {
        at = end;
    }
}

/// A checksum behind so many bytes; where it ends.
fn fix(bytes: &mut [u8], start: usize, len: usize) -> Option<usize> {
    let end = start.checked_add(len)?;
    let checksum = crc32c::crc32c(bytes.get(start..end)?).to_be_bytes();
    bytes.get_mut(end..end.checked_add(4)?)?.copy_from_slice(&checksum);
    Some(end + 4)
}

/// The checksum of a length and as many bytes.
fn fix_section(bytes: &mut [u8], start: usize) -> Option<usize> {
    let len = u32::from_be_bytes(bytes.get(start..start.checked_add(4)?)?.try_into().ok()?);
    fix(bytes, start + 4, len as usize)
}

/// A short number, and how many bytes it has.
fn uvarint(bytes: &[u8], start: usize) -> Option<(usize, usize)> {
    match *bytes.get(start..)? {
        [low, ..] if low < 0x80 => Some((low.into(), 1)),
        [low, high, ..] if high < 0x80 => Some((usize::from(low & 0x7f) | usize::from(high) << 7, 2)),
        _ => None,
    }
}

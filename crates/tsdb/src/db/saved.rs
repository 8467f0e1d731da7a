//! `<data>/pyrope/head`: what a clean stop saves, so that the next start reads no log.
//!
//! It holds what of the head lies in memory only; chunks in `chunks_head/` are found there, out-of-order samples in their own
//! log. It is expendable: whoever finds that it does not fit the directory replays the log instead, which has all of it.
//! Layout: docs/formats.md.
//!
//! # Invariants
//! - It is used only where log and chunk files are, to the last byte's place, as they were when it was written: whoever has the
//!   directory open begins a segment, so a Prometheus that was there in between is noticed.
//! - Nothing in it is believed before the checksum of the whole fits.

use super::{Db, lifecycle::Maintenance};
use crate::chunk::Encoding;
use crate::head::export::Exported;
use crate::wal::segment;
use model::{Exemplar, Labels, Metadata, MetricType, Timestamp};
use std::io;
use std::path::{Path, PathBuf};
use storage::{Interval, SeriesRef};
use world::{File, Files};

const MAGIC: &[u8; 8] = b"pyhead\0\x02";
const CHECKSUM_LEN: usize = 4;
/// Numbers that say what log and chunk files look like.
const FACTS: usize = 7;
/// Bytes that are written at a time.
const PIECE: usize = 1 << 20;
/// Label pairs of a series that may be said to be those of the series before.
const SHARED_MAX: usize = 64;

/// What is saved of one series.
#[derive(Debug)]
pub struct SavedSeries<'b> {
    /// Its name in the log.
    pub series_ref: SeriesRef,
    /// Its labels.
    pub labels: Labels,
    /// Encoding and bytes of chunks that no file has, oldest first.
    pub chunks: Vec<(Encoding, &'b [u8])>,
    /// What is deleted of it.
    pub deleted: Vec<Interval>,
    /// Its metadata.
    pub metadata: Option<Metadata>,
}

/// What is saved, in the order in which it is read.
#[derive(Debug)]
pub enum Saved<'b> {
    /// The highest ref given.
    LastRef(SeriesRef),
    /// A ref without a series, the last segment that may have samples under it, and the time of the last one that is in no block.
    Removed(SeriesRef, u32, i64),
    /// A series.
    Series(SavedSeries<'b>),
    /// An exemplar of one of them.
    Exemplar(SeriesRef, Exemplar),
}

/// Where it lies.
pub fn path(dir: &Path) -> PathBuf {
    dir.join("pyrope").join("head")
}

/// What log and chunk files look like from outside; none if they are not in order.
fn facts(files: &dyn Files, dir: &Path) -> Option<[u64; FACTS]> {
    let layout = segment::list(files, &dir.join("wal")).ok()?;
    let (first, last) = (layout.segments.first()?, layout.segments.last()?);
    let first = u64::from(first.index.0);
    let checkpoint = layout.checkpoints.last().map_or(0, |checkpoint| u64::from(checkpoint.last.0) + 1);
    let chunk_files = match files.list(&dir.join("chunks_head")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        listed => listed.ok()?,
    };
    let numbers = chunk_files.iter().filter_map(|path| Some((path.file_name()?.to_str()?.parse::<u32>().ok()?, path)));
    let (mut first_chunks, mut last_chunks, mut bytes) = (0, 0, 0);
    for (number, path) in numbers {
        let number = u64::from(number);
        first_chunks = if first_chunks == 0 { number } else { number.min(first_chunks) };
        last_chunks = number.max(last_chunks);
        bytes += files.len(path).ok()?;
    }
    Some([first, u64::from(last.index.0), files.len(&last.path).ok()?, checkpoint, first_chunks, last_chunks, bytes])
}

/// Saves the head, at the end of a clean stop: log and chunk files are synced, and nobody writes any more.
///
/// # Errors
/// The operating system's; nothing is left then that the next start would use.
pub(super) fn write(db: &Db, maintenance: &Maintenance) -> io::Result<()> {
    let (files, dir) = (&*db.options.files, &db.options.dir);
    // Those of earlier runs, which were perhaps killed, nobody has made durable: the log had it all.
    for path in files.list(&dir.join("chunks_head")).unwrap_or_default() {
        files.open_cut(&path, files.len(&path)?)?.sync()?;
    }
    // The log of out-of-order samples may use names that are not saved.
    if db.head.late_time_range().is_some() && !maintenance.removed.is_empty() {
        return Ok(());
    }
    // Likewise chunk files.
    if db.replayed.get().is_some_and(|replayed| replayed.chunks_of_aliases) {
        return Ok(());
    }
    let Some(found) = facts(files, dir) else { return Ok(()) };
    // Whoever had logged something until now has applied it after this, and whoever logs something later changes the log.
    db.head.wait_for_commits();
    let path = path(dir);
    let unfinished = path.with_extension("tmp");
    let folder = dir.join("pyrope");
    files.create_folder(&folder)?;
    let file = match files.create_new(&unfinished) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => files.open_cut(&unfinished, 0)?,
        created => created?,
    };
    let mut writer = Writer { file, bytes: MAGIC.to_vec(), checksum: 0, failed: None };
    found.iter().for_each(|fact| writer.bytes.extend_from_slice(&fact.to_le_bytes()));
    writer.number(db.head.last_ref().0);
    writer.number(maintenance.removed.len() as u64);
    for (series_ref, nameless) in &maintenance.removed {
        writer.number(series_ref.0);
        writer.number(u64::from(nameless.segment.0));
        writer.bytes.extend_from_slice(&nameless.max_time.to_le_bytes());
    }
    let mut before = Labels::empty();
    let whole = db.head.export(|series| {
        writer.series(series, &before);
        before = series.labels.clone();
        writer.flush_if_full()
    });
    writer.number(0);
    db.head.export_exemplars(|series_ref, exemplar| {
        writer.number(series_ref.0);
        writer.exemplar(exemplar);
    });
    writer.number(0);
    if writer.failed.is_none() && (!whole || facts(files, dir) != Some(found)) {
        return files.remove(&unfinished);
    }
    writer.finish()?;
    files.rename(&unfinished, &path)?;
    files.sync_folder(&folder)
}

struct Writer {
    file: Box<dyn File>,
    bytes: Vec<u8>,
    checksum: u32,
    failed: Option<io::Error>,
}

impl Writer {
    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }

    fn data(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }

    fn series(&mut self, series: &Exported<'_>, before: &Labels) {
        self.number(series.series_ref.0);
        let mut mask = 0u64;
        for (at, (mine, other)) in series.labels.iter().zip(before.iter()).take(SHARED_MAX).enumerate() {
            mask |= u64::from(mine == other) << at;
        }
        self.number(series.labels.iter().count() as u64);
        self.number(mask);
        for (at, (name, value)) in series.labels.iter().enumerate() {
            if at >= SHARED_MAX || mask >> at & 1 == 0 {
                self.data(name.as_bytes());
                self.data(value.as_bytes());
            }
        }
        let full = series.full.iter().map(|chunk| (chunk.encoding, &*chunk.bytes));
        for (encoding, bytes) in full.chain(series.open.map(|open| (open.encoding, open.bytes))) {
            self.bytes.push(encoding as u8);
            self.data(bytes);
        }
        self.bytes.push(0);
        self.number(series.deleted.map_or(0, |deleted| deleted.len()) as u64);
        for interval in series.deleted.into_iter().flat_map(|deleted| deleted.iter()) {
            self.bytes.extend_from_slice(&interval.start.0.to_le_bytes());
            self.bytes.extend_from_slice(&interval.end.0.to_le_bytes());
        }
        self.bytes.push(u8::from(series.metadata.is_some()));
        if let Some(metadata) = &series.metadata {
            self.bytes.push(KINDS.iter().position(|kind| *kind == metadata.kind).unwrap_or(0) as u8);
            self.data(metadata.unit.as_bytes());
            self.data(metadata.help.as_bytes());
        }
    }

    fn exemplar(&mut self, exemplar: &Exemplar) {
        self.bytes.extend_from_slice(&exemplar.timestamp.0.to_le_bytes());
        self.bytes.extend_from_slice(&exemplar.value.to_bits().to_le_bytes());
        self.number(exemplar.labels.iter().count() as u64);
        for (name, value) in exemplar.labels.iter() {
            self.data(name.as_bytes());
            self.data(value.as_bytes());
        }
    }

    fn flush_if_full(&mut self) -> bool {
        if self.bytes.len() >= PIECE {
            self.flush();
        }
        self.failed.is_none()
    }

    fn flush(&mut self) {
        self.checksum = crc32c::crc32c_append(self.checksum, &self.bytes);
        if self.failed.is_none() {
            self.failed = self.file.append(&self.bytes).err();
        }
        self.bytes.clear();
    }

    fn finish(mut self) -> io::Result<()> {
        self.flush();
        self.failed.map_or(Ok(()), Err)?;
        self.file.append(&self.checksum.to_le_bytes())?;
        self.file.sync()
    }
}

/// As bytes of a file.
const KINDS: [MetricType; 8] = [
    MetricType::Unknown,
    MetricType::Counter,
    MetricType::Gauge,
    MetricType::Histogram,
    MetricType::GaugeHistogram,
    MetricType::Summary,
    MetricType::Info,
    MetricType::StateSet,
];

/// Whether these bytes are whole and belong to the directory as it is.
pub(super) fn fits(files: &dyn Files, dir: &Path, bytes: &[u8]) -> bool {
    let Some(expected) = body(bytes).and_then(|body| body.get(..FACTS * 8)) else { return false };
    facts(files, dir).is_some_and(|facts| facts.iter().flat_map(|fact| fact.to_le_bytes()).eq(expected.iter().copied()))
}

/// What the checksum covers, without the magic number.
fn body(bytes: &[u8]) -> Option<&[u8]> {
    let (covered, checksum) = bytes.split_last_chunk::<CHECKSUM_LEN>()?;
    let body = covered.strip_prefix(MAGIC)?;
    (crc32c::crc32c(covered) == u32::from_le_bytes(*checksum)).then_some(body)
}

/// Gives what is saved to `visit`; whether all of it could be read.
pub fn read(bytes: &[u8], visit: impl FnMut(Saved<'_>)) -> bool {
    let rest = body(bytes).and_then(|body| body.get(FACTS * 8..));
    rest.and_then(|rest| Reader(rest).all(visit)).is_some()
}

struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn all(mut self, mut visit: impl FnMut(Saved<'_>)) -> Option<()> {
        visit(Saved::LastRef(SeriesRef(self.number()?)));
        for _ in 0..self.number()? {
            let (series_ref, segment) = (SeriesRef(self.number()?), u32::try_from(self.number()?).ok()?);
            visit(Saved::Removed(series_ref, segment, self.word()? as i64));
        }
        let mut pairs: Vec<(&'b str, &'b str)> = Vec::new();
        loop {
            match self.number()? {
                0 => break,
                series_ref => visit(Saved::Series(self.series(SeriesRef(series_ref), &mut pairs)?)),
            }
        }
        loop {
            match self.number()? {
                0 => return Some(()),
                series_ref => visit(Saved::Exemplar(SeriesRef(series_ref), self.exemplar()?)),
            }
        }
    }

    fn series(&mut self, series_ref: SeriesRef, pairs: &mut Vec<(&'b str, &'b str)>) -> Option<SavedSeries<'b>> {
        let (count, mask) = (usize::try_from(self.number()?).ok()?, self.number()?);
        pairs.truncate(count);
        for at in 0..count {
            if at < SHARED_MAX && mask >> at & 1 == 1 {
                pairs.get(at)?;
                continue;
            }
            let pair = (self.text()?, self.text()?);
            match pairs.get_mut(at) {
                Some(place) => *place = pair,
                None => pairs.push(pair),
            }
        }
        let labels = if pairs.is_sorted_by(|a, b| a.0 < b.0) { Labels::from_sorted(pairs.iter().copied()) } else { return None };
        let mut chunks = Vec::new();
        loop {
            match self.byte()? {
                0 => break,
                encoding => chunks.push((Encoding::of(encoding)?, self.data()?)),
            }
        }
        let mut deleted = Vec::new();
        for _ in 0..self.number()? {
            deleted.push(Interval { start: Timestamp(self.word()? as i64), end: Timestamp(self.word()? as i64) });
        }
        let metadata = match self.byte()? {
            0 => None,
            _ => {
                let kind = *KINDS.get(usize::from(self.byte()?))?;
                Some(Metadata { kind, unit: self.text()?.to_owned(), help: self.text()?.to_owned() })
            }
        };
        Some(SavedSeries { series_ref, labels, chunks, deleted, metadata })
    }

    fn exemplar(&mut self) -> Option<Exemplar> {
        let (timestamp, value) = (Timestamp(self.word()? as i64), f64::from_bits(self.word()?));
        let mut pairs = Vec::new();
        for _ in 0..self.number()? {
            pairs.push((self.text()?, self.text()?));
        }
        Some(Exemplar { labels: Labels::from_pairs(pairs), value, timestamp, has_timestamp: true })
    }

    fn take(&mut self, len: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|byte| byte[0])
    }

    fn word(&mut self) -> Option<u64> {
        self.take(8)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn data(&mut self) -> Option<&'b [u8]> {
        let len = usize::try_from(self.number()?).ok()?;
        self.take(len)
    }

    fn text(&mut self) -> Option<&'b str> {
        std::str::from_utf8(self.data()?).ok()
    }
}

//! `<data>/pyrope/head`: what is saved of the head every few minutes, so that the next start reads only the end of the log.
//!
//! It holds what of the head lies in memory only: series and what they have that no chunk file has. Whatever the log says below
//! a certain segment is in it, in `chunks_head/` or in a block; out-of-order samples are found in their own log. It is
//! expendable: whoever finds that it does not fit the directory replays the whole log instead. Layout: docs/formats.md.
//!
//! # Invariants
//! - What is logged below [`Basis::from`] had been applied when the first series was exported. What was applied meanwhile may be in it too,
//!   and is logged: reading that again changes nothing.
//! - The series record of each series in it is in the log, and both log and chunk files were durable before it got its name.
//! - It is used only where the segment before [`Basis::from`] and the chunk files are what they were, but for what was added.
//! - Nothing in it is believed before the checksum of the whole fits.

use super::{Db, lifecycle::Maintenance};
use crate::chunk::Encoding;
use crate::head::export::Exported;
use crate::neighbours::{LabelRow, Neighbours};
use crate::wal::SegmentIndex;
use model::{Exemplar, Labels, Metadata, MetricType, Timestamp};
use std::io;
use std::path::{Path, PathBuf};
use std::str::Utf8Error;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use storage::{Interval, SeriesRef};
use world::{File, Files, Map};

const MAGIC: &[u8; 8] = b"pyhead\0\x04";
const CHECKSUM_LEN: usize = 4;
/// Numbers of a [`Basis`].
const FACTS: usize = 7;
/// Bytes that are written at a time.
const PIECE: usize = 1 << 20;
/// Label pairs of a series that may be said to be those of the series before.
const SHARED_MAX: usize = 64;
/// Distinct label pairs of neighbours after which they are forgotten.
const PAIRS_MAX: usize = 1 << 14;

/// What is saved of one series beside its labels.
#[derive(Debug)]
pub struct SavedSeries<'b> {
    /// Its name in the log.
    pub series_ref: SeriesRef,
    /// Other names of it in logs and chunk files.
    pub aliases: Vec<SeriesRef>,
    /// Encoding and bytes of chunks that no file has, oldest first.
    pub chunks: Vec<(Encoding, &'b [u8])>,
    /// What is deleted of it.
    pub deleted: Vec<Interval>,
    /// The log has late samples of it up to this time, and none in order that is as new.
    pub late_until: Option<i64>,
    /// Its metadata.
    pub metadata: Option<Metadata>,
}

/// What is saved, in the order in which it is read.
#[derive(Debug)]
pub enum Saved<'s, 'b> {
    /// The highest ref given.
    LastRef(SeriesRef),
    /// A ref without a series, the last segment that may have samples under it, and the time of the last one that is in no block.
    Removed(SeriesRef, u32, i64),
    /// A series.
    Series(LabelRow<'s>, SavedSeries<'b>),
    /// An exemplar of one of them.
    Exemplar(SeriesRef, Exemplar),
}

/// Where it lies.
pub fn path(dir: &Path) -> PathBuf {
    dir.join("pyrope").join("head")
}

/// What it builds upon: it stands for the log below a segment, together with the chunk files that there were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Basis {
    /// The log has to be read from this segment on.
    from: u32,
    /// Length of the segment before, which nobody writes any more.
    sealed_len: u64,
    /// Number of the first chunk file; 0 if there is none.
    first_chunks: u32,
    /// Number of the last one.
    last_chunks: u32,
    /// Bytes of those before the last one.
    chunk_bytes: u64,
    /// Bytes of the last one, which may grow.
    last_chunk_bytes: u64,
    /// Samples before it are in blocks.
    min_valid: i64,
}

impl Basis {
    /// Of the directory as it is; none if the segment before `from` is not there.
    fn of(files: &dyn Files, dir: &Path, from: SegmentIndex, min_valid: i64) -> Option<Self> {
        let sealed = SegmentIndex(from.0.checked_sub(1)?);
        let sealed_len = files.len(&sealed.path(&dir.join("wal"))).ok()?;
        let mut basis = Self { from: from.0, sealed_len, first_chunks: 0, last_chunks: 0, chunk_bytes: 0, last_chunk_bytes: 0, min_valid };
        for (number, path) in chunk_files(files, dir).ok()? {
            if basis.first_chunks == 0 {
                basis.first_chunks = number;
            }
            basis.chunk_bytes += basis.last_chunk_bytes;
            (basis.last_chunks, basis.last_chunk_bytes) = (number, files.len(&path).ok()?);
        }
        Some(basis)
    }

    /// Whether the directory still has all that it builds upon, where samples before `min_valid` are in blocks.
    fn holds(&self, files: &dyn Files, dir: &Path, min_valid: i64) -> bool {
        let sealed = self.from.checked_sub(1).map(|index| SegmentIndex(index).path(&dir.join("wal")));
        // A block that is gone may have had what the log still has.
        if min_valid < self.min_valid || sealed.and_then(|path| files.len(&path).ok()) != Some(self.sealed_len) {
            return false;
        }
        if self.first_chunks == 0 {
            return true;
        }
        let Ok(found) = chunk_files(files, dir) else { return false };
        let len = |path: &Path| files.len(path).unwrap_or(0);
        let before: u64 = found.iter().filter(|(number, _)| *number < self.last_chunks).map(|(_, path)| len(path)).sum();
        let last = found.iter().find(|(number, _)| *number == self.last_chunks);
        found.first().is_some_and(|(number, _)| *number == self.first_chunks)
            && before == self.chunk_bytes
            && last.is_some_and(|(_, path)| len(path) >= self.last_chunk_bytes)
    }

    fn to_numbers(self) -> [u64; FACTS] {
        let [from, first, last] = [self.from, self.first_chunks, self.last_chunks].map(u64::from);
        [from, self.sealed_len, first, last, self.chunk_bytes, self.last_chunk_bytes, self.min_valid as u64]
    }

    fn from_numbers([from, sealed_len, first, last, chunk_bytes, last_chunk_bytes, min_valid]: [u64; FACTS]) -> Option<Self> {
        let narrow = |number: u64| u32::try_from(number).ok();
        let (from, first_chunks, last_chunks) = (narrow(from)?, narrow(first)?, narrow(last)?);
        Some(Self { from, sealed_len, first_chunks, last_chunks, chunk_bytes, last_chunk_bytes, min_valid: min_valid as i64 })
    }
}

/// The head's chunk files by number.
fn chunk_files(files: &dyn Files, dir: &Path) -> io::Result<Vec<(u32, PathBuf)>> {
    let listed = match files.list(&dir.join("chunks_head")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed?,
    };
    let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let mut found: Vec<(u32, PathBuf)> = listed.into_iter().filter_map(|path| Some((number(&path)?, path))).collect();
    found.sort();
    Ok(found)
}

/// Saves the head at the end of a clean stop: the log is synced, and nobody writes any more.
///
/// # Errors
/// The operating system's; what was saved before stays.
pub(super) fn write_last(db: &Db, maintenance: &Maintenance) -> io::Result<()> {
    let Some(logs) = db.logs() else { return Ok(()) };
    // Whoever logs something later, as the batch came before the stop, makes the last segment longer than is noted here.
    let from = SegmentIndex(logs.wal.segment().0 + 1);
    write(db, maintenance, from)
}

/// Saves the head while batches come in; the first segment of the log that the next start has to read.
///
/// # Errors
/// The operating system's; what was saved before stays.
pub(super) fn write_running(db: &Db, maintenance: &Maintenance) -> io::Result<Option<SegmentIndex>> {
    let Some(logs) = db.logs() else { return Ok(None) };
    let from = logs.wal.begin_segment()?;
    write(db, maintenance, from).map(|()| Some(from))
}

fn write(db: &Db, maintenance: &Maintenance, from: SegmentIndex) -> io::Result<()> {
    let (files, dir) = (&*db.options.files, &db.options.dir);
    let Some(begun) = Basis::of(files, dir, from, db.head.min_valid_time()) else { return Ok(()) };
    let refused = db.head.unlogged_count();
    if db.head.has_unlogged() {
        return Ok(());
    }
    // A series with a higher ref is in the log from there on. All others are there when whoever made them has ended.
    let last_ref = db.head.last_ref();
    // Whoever has logged something below `from` has applied it after this.
    db.head.wait_for_commits();
    let path = path(dir);
    let unfinished = path.with_extension("tmp");
    let folder = dir.join("pyrope");
    files.create_folder(&folder)?;
    let written = write_to(db, maintenance, &unfinished, last_ref, begun).and_then(|whole| {
        // Of series that the log failed to take some may still be on their way.
        db.head.wait_for_commits();
        if !whole || db.head.has_unlogged() || db.head.unlogged_count() != refused {
            return Ok(false);
        }
        // What was exported may be in no durable log yet. Of late samples the segments that need not be read any more have a copy, too: a power
        // cut that took only the other one would hide them until the whole log is read again.
        let Some(logs) = db.logs() else { return Ok(false) };
        logs.wbl.as_ref().map_or(Ok(()), |wbl| wbl.sync())?;
        logs.wal.sync().map(|()| true)
    });
    match written {
        Ok(true) => {
            files.rename(&unfinished, &path)?;
            files.sync_folder(&folder)
        }
        // It would only take space.
        Ok(false) => files.remove(&unfinished),
        Err(error) => {
            let _ = files.remove(&unfinished);
            Err(error)
        }
    }
}

/// Writes the file and makes it durable; whether it is one to be used.
fn write_to(db: &Db, maintenance: &Maintenance, unfinished: &Path, last_ref: SeriesRef, begun: Basis) -> io::Result<bool> {
    let (files, dir) = (&*db.options.files, &db.options.dir);
    let file = match files.create_new(unfinished) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => files.open_cut(unfinished, 0)?,
        created => created?,
    };
    let mut writer = Writer { file, bytes: MAGIC.to_vec(), checksum: 0 };
    writer.number(last_ref.0);
    writer.number(maintenance.removed.len() as u64);
    for (series_ref, nameless) in &maintenance.removed {
        writer.number(series_ref.0);
        writer.number(u64::from(nameless.segment.0));
        writer.bytes.extend_from_slice(&nameless.max_time.to_le_bytes());
    }
    let closing = db.phase() == super::Phase::Closed;
    let mut before = Vec::new();
    for piece in 0.. {
        let more = db.head.export(piece, |series| {
            if series.series_ref <= last_ref {
                let aliases = maintenance.aliases.get(&series.series_ref).map_or(&[][..], Vec::as_slice);
                writer.series(series, aliases, &mut before);
            }
        });
        writer.flush_if_full()?;
        if !more {
            break;
        }
        if !closing && db.stopping.load(Ordering::Relaxed) {
            return Ok(false);
        }
    }
    writer.number(0);
    db.head.export_exemplars(|series_ref, exemplar| {
        if series_ref <= last_ref {
            writer.number(series_ref.0);
            writer.exemplar(exemplar);
        }
    });
    writer.number(0);
    // Chunks that are not in it are in files by now.
    sync_chunks(db)?;
    let Some(basis) = Basis::of(files, dir, SegmentIndex(begun.from), begun.min_valid) else { return Ok(false) };
    if basis.sealed_len != begun.sealed_len || db.head.min_valid_time() != begun.min_valid {
        return Ok(false);
    }
    basis.to_numbers().iter().for_each(|number| writer.bytes.extend_from_slice(&number.to_le_bytes()));
    writer.finish()?;
    Ok(true)
}

/// Makes the chunk files durable, those of earlier runs too, which were perhaps killed: the log had it all.
fn sync_chunks(db: &Db) -> io::Result<()> {
    let Some(mapped) = db.head.mapped() else { return Ok(()) };
    mapped.sync()?;
    let (files, writing) = (&*db.options.files, mapped.writing());
    for (_, path) in chunk_files(files, &db.options.dir)?.iter().filter(|(number, _)| *number < writing) {
        files.open_cut(path, files.len(path)?)?.sync()?;
    }
    Ok(())
}

/// Deletes it: what is going to be changed may be what it builds upon.
///
/// # Errors
/// The operating system's.
pub(super) fn remove(files: &dyn Files, dir: &Path) -> io::Result<()> {
    match files.remove(&path(dir)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.and_then(|()| files.sync_folder(&dir.join("pyrope"))),
    }
}

struct Writer {
    file: Box<dyn File>,
    bytes: Vec<u8>,
    checksum: u32,
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

    /// Writes a series; `before` are the label pairs of the one before, and then its own.
    fn series(&mut self, series: &Exported<'_>, aliases: &[SeriesRef], before: &mut Vec<u32>) {
        self.number(series.series_ref.0);
        self.number(aliases.len() as u64);
        aliases.iter().for_each(|alias| self.number(alias.0));
        let mut mask = 0u64;
        for (at, (mine, other)) in series.labels.numbers().zip(&*before).take(SHARED_MAX).enumerate() {
            mask |= u64::from(mine == *other) << at;
        }
        before.clear();
        before.extend(series.labels.numbers());
        self.number(before.len() as u64);
        self.number(mask);
        for (at, number) in before.iter().enumerate() {
            if at >= SHARED_MAX || mask >> at & 1 == 0 {
                let (name, value) = series.labels.texts(*number);
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
        self.bytes.push(u8::from(series.late_until.is_some()));
        self.bytes.extend(series.late_until.into_iter().flat_map(i64::to_le_bytes));
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

    fn flush_if_full(&mut self) -> io::Result<()> {
        if self.bytes.len() >= PIECE { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.checksum = crc32c::crc32c_append(self.checksum, &self.bytes);
        self.file.append(&self.bytes)?;
        self.bytes.clear();
        Ok(())
    }

    fn finish(mut self) -> io::Result<()> {
        self.flush()?;
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

/// A saved head that fits the directory.
#[derive(Clone)]
pub(super) struct Table {
    /// To be given to [`read`].
    pub bytes: Arc<Map>,
    /// The first segment of the log that is to be read.
    pub from: SegmentIndex,
}

/// Looks for one that fits the directory, where samples before `min_valid` are in blocks. To be done before chunk files are read: what they are to
/// have is in them then.
pub(super) fn find(files: &dyn Files, dir: &Path, min_valid: i64) -> Option<Table> {
    let bytes = files.map(&path(dir)).ok()?;
    let found = basis(&bytes).filter(|basis| basis.holds(files, dir, min_valid) && !bytes.is_faulty());
    if found.is_none() {
        tracing::info!(component = "tsdb", "the saved head does not fit the directory: the whole log is replayed");
    }
    found.map(|basis| Table { from: SegmentIndex(basis.from), bytes })
}

fn basis(bytes: &[u8]) -> Option<Basis> {
    let (_, facts) = parts(bytes)?;
    let mut numbers = [0; FACTS];
    for (number, bytes) in numbers.iter_mut().zip(facts.as_chunks().0) {
        *number = u64::from_le_bytes(*bytes);
    }
    Basis::from_numbers(numbers)
}

/// What lies between the magic number and the facts, and these, if the checksum fits.
fn parts(bytes: &[u8]) -> Option<(&[u8], &[u8; FACTS * 8])> {
    let (covered, checksum) = bytes.split_last_chunk::<CHECKSUM_LEN>()?;
    let body = covered.strip_prefix(MAGIC)?;
    body.split_last_chunk().filter(|_| crc32c::crc32c(covered) == u32::from_le_bytes(*checksum))
}

/// Gives what is saved to `visit`; whether all of it could be read.
pub fn read<'b>(bytes: &'b [u8], visit: impl FnMut(Saved<'_, 'b>)) -> bool {
    parts(bytes).and_then(|(body, _)| Reader(body).all(visit)).is_some()
}

struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn all(mut self, mut visit: impl FnMut(Saved<'_, 'b>)) -> Option<()> {
        visit(Saved::LastRef(SeriesRef(self.number()?)));
        for _ in 0..self.number()? {
            let (series_ref, segment) = (SeriesRef(self.number()?), u32::try_from(self.number()?).ok()?);
            visit(Saved::Removed(series_ref, segment, self.word()? as i64));
        }
        let (mut neighbours, mut packed) = (Neighbours::default(), Vec::new());
        let mut begins = true;
        loop {
            match self.number()? {
                0 => break,
                series_ref => {
                    let series = self.series(SeriesRef(series_ref), &mut neighbours, &mut packed)?;
                    visit(Saved::Series(neighbours.row(&packed, begins), series));
                }
            }
            begins = neighbours.count() > PAIRS_MAX;
            if begins {
                neighbours.begin_anew();
            }
        }
        loop {
            match self.number()? {
                0 => return Some(()),
                series_ref => visit(Saved::Exemplar(SeriesRef(series_ref), self.exemplar()?)),
            }
        }
    }

    /// Reads a series, whose labels `neighbours` and `packed` have then.
    fn series(&mut self, series_ref: SeriesRef, neighbours: &mut Neighbours<'b>, packed: &mut Vec<u8>) -> Option<SavedSeries<'b>> {
        let mut aliases = Vec::new();
        for _ in 0..self.number()? {
            aliases.push(SeriesRef(self.number()?));
        }
        let (count, mask) = (usize::try_from(self.number()?).ok()?, self.number()?);
        neighbours.begin();
        for at in 0..count {
            if at < SHARED_MAX && mask >> at & 1 == 1 {
                neighbours.before()?;
                neighbours.same();
                continue;
            }
            let pair = self.0;
            let (name, value) = (self.data()?, self.data()?);
            let texts = || Ok::<_, Utf8Error>((str::from_utf8(name)?, str::from_utf8(value)?));
            neighbours.other(&pair[..pair.len() - self.0.len()], texts).ok()?;
        }
        if !neighbours.end() {
            return None;
        }
        packed.clear();
        neighbours.packed().for_each(|pair| packed.extend_from_slice(pair));
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
        let late_until = match self.byte()? {
            0 => None,
            _ => Some(self.word()? as i64),
        };
        let metadata = match self.byte()? {
            0 => None,
            _ => {
                let kind = *KINDS.get(usize::from(self.byte()?))?;
                Some(Metadata { kind, unit: self.text()?.to_owned(), help: self.text()?.to_owned() })
            }
        };
        Some(SavedSeries { series_ref, aliases, chunks, deleted, late_until, metadata })
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

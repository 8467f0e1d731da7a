//! Reading a folder of head chunks at the start.

use super::{CHECKSUM_LEN, CHUNK_HEADER_LEN, HEADER_LEN, HeadFile, MAGIC, MappedChunk, OUT_OF_ORDER, Place, VERSION};
use crate::chunk::Encoding;
use foldhash::fast::FixedState;
use hashbrown::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use storage::SeriesRef;
use world::Files;

/// Less than this is left: Prometheus takes anything but zeros for damage, and no chunk is shorter.
const SHORTEST: usize = 34;

/// Files that are read at a time: each has up to half a million chunks, which wait in memory.
const TOGETHER_MAX: usize = 4;

/// A chunk that was found.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// Whose.
    pub series_ref: SeriesRef,
    /// The chunk.
    pub chunk: MappedChunk,
    /// Whether it holds out-of-order samples.
    pub out_of_order: bool,
    /// Its samples.
    pub samples: u16,
}

impl Found {
    /// The encoding that a byte of a file stands for, and whether the chunk is of out-of-order samples.
    pub(super) fn encoding_of(byte: u8) -> Option<(Encoding, bool)> {
        Some((Encoding::of(byte & !OUT_OF_ORDER)?, byte & OUT_OF_ORDER != 0))
    }
}

/// The first damage of a folder; good chunks lie before it, and none of those behind it are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The damaged file.
    pub path: PathBuf,
    /// How many of its bytes are good; 0 = the file is none of ours.
    pub good: u64,
    /// What is wrong.
    pub what: &'static str,
    /// Files with higher numbers.
    pub behind: Vec<PathBuf>,
}

impl Damage {
    pub(super) fn repair(&self, files: &dyn Files) -> io::Result<()> {
        // The last first: an interruption leaves no gap.
        for path in self.behind.iter().rev() {
            remove(files, path)?;
        }
        // Once the damage is gone nothing says that they are not to be used, so they must not come back with a power cut.
        if let Some(folder) = self.path.parent().filter(|_| !self.behind.is_empty()) {
            files.sync_folder(folder)?;
        }
        if self.good <= HEADER_LEN as u64 {
            remove(files, &self.path)
        } else {
            files.open_cut(&self.path, self.good).and_then(|file| file.sync())
        }
    }
}

fn remove(files: &dyn Files, path: &Path) -> io::Result<()> {
    match files.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

pub(super) struct Scanned {
    pub files: Vec<Arc<HeadFile>>,
    pub next: u32,
    pub damage: Option<Damage>,
}

/// A file's chunks, and where its good part ends and why, if that is not its end.
#[derive(Default)]
struct Parsing {
    /// In the order of the file; a chunk that cannot be named here is told by its series alone.
    chunks: Vec<Result<Found, SeriesRef>>,
    damaged: Option<(u64, &'static str)>,
}

/// Some files are read at a time, by a thread each, while this one visits what the ones before had.
pub(super) fn scan(files: &dyn Files, folder: &Path, mut visit: impl FnMut(Found)) -> io::Result<Scanned> {
    let mut scanned = Scanned { files: Vec::new(), next: 1, damage: None };
    let mut numbered = match files.list(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(scanned),
        listed => listed?.into_iter().filter_map(|path| Some((number_of(&path)?, path))).collect::<Vec<(u32, PathBuf)>>(),
    };
    numbered.sort_unstable();
    let behind = |at: usize| numbered[at..].iter().map(|(_, path)| path.clone()).collect::<Vec<_>>();
    let first = numbered.first().map_or(1, |(number, _)| *number);
    let unbroken = (first..).zip(&numbered).take_while(|(expected, (number, _))| expected == number).count();
    // A series' later chunks are of no use without an earlier one: replay would skip what that held.
    let mut unusable: HashSet<SeriesRef, FixedState> = HashSet::default();
    let mut visit = |chunks: Vec<Result<Found, SeriesRef>>| {
        for chunk in chunks {
            match chunk {
                Ok(found) if !unusable.contains(&found.series_ref) => visit(found),
                Ok(Found { series_ref, .. }) | Err(series_ref) => _ = unusable.insert(series_ref),
            }
        }
    };
    let together = std::thread::available_parallelism().map_or(1, usize::from).min(TOGETHER_MAX);
    let mut unvisited: Vec<Parsing> = Vec::new();
    for begin in (0..unbroken).step_by(together) {
        let end = (begin + together).min(unbroken);
        let maps = numbered[begin..end].iter().map(|(_, path)| files.map(path)).collect::<io::Result<Vec<_>>>()?;
        let parsed: Vec<Parsing> = std::thread::scope(|scope| {
            let file = |(map, (number, _)): (_, &(u32, PathBuf))| (Arc::clone(map), *number);
            let threads: Vec<_> = maps
                .iter()
                .zip(&numbered[begin..end])
                .map(file)
                .map(|(map, number)| scope.spawn(move || parse_file(&map, number)))
                .collect();
            unvisited.drain(..).for_each(|parsed| visit(parsed.chunks));
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        });
        for ((at, map), parsed) in (begin..end).zip(maps).zip(parsed) {
            let (number, path) = &numbered[at];
            let (damaged, sealed) = (parsed.damaged, Arc::new(HeadFile::sealed(path.clone(), *number, map)));
            if damaged.is_none_or(|(good, _)| good > HEADER_LEN as u64) {
                scanned.files.push(sealed);
            }
            unvisited.push(parsed);
            if let Some((good, what)) = damaged {
                scanned.damage = Some(Damage { path: path.clone(), good, what, behind: behind(at + 1) });
                break;
            }
        }
        if scanned.damage.is_some() {
            break;
        }
    }
    unvisited.into_iter().for_each(|parsed| visit(parsed.chunks));
    if let (None, Some((_, path))) = (&scanned.damage, numbered.get(unbroken)) {
        scanned.damage = Some(Damage { path: path.clone(), good: 0, what: "a file before it is missing", behind: behind(unbroken + 1) });
    }
    scanned.next = scanned.files.last().map_or(first, |file| file.number().saturating_add(1));
    Ok(scanned)
}

fn parse_file(map: &[u8], number: u32) -> Parsing {
    let mut chunks = Vec::new();
    let damaged = match check_header(map) {
        Err(what) => Some((0, what)),
        Ok(()) => each(map, |offset, head, data| {
            let Some((encoding, out_of_order)) = Found::encoding_of(head[CHUNK_HEADER_LEN - 1]) else { return };
            let (series_ref, min_time, max_time) = (SeriesRef(word(head, 0)), word(head, 8) as i64, word(head, 16) as i64);
            let samples = crate::chunk::sample_count(encoding, data).unwrap_or(0);
            let chunk = MappedChunk::new(Place { file: number, offset }, encoding, min_time, max_time);
            chunks.push(chunk.map(|chunk| Found { series_ref, chunk, out_of_order, samples }).ok_or(series_ref));
        }),
    };
    Parsing { chunks, damaged }
}

fn number_of(path: &Path) -> Option<u32> {
    let name = path.file_name()?.to_str()?;
    name.bytes().all(|byte| byte.is_ascii_digit()).then(|| name.parse().ok()).flatten()
}

fn check_header(bytes: &[u8]) -> Result<(), &'static str> {
    let header = bytes.get(..HEADER_LEN).ok_or("invalid head chunk file header")?;
    if header[..4] != MAGIC.to_be_bytes() {
        return Err("invalid magic number");
    }
    if header[4] != VERSION { Err("invalid chunk format version") } else { Ok(()) }
}

/// Visits the chunks of a file; where the good part ends and why, if that is not the file's end.
fn each(bytes: &[u8], mut visit: impl FnMut(u32, &[u8], &[u8])) -> Option<(u64, &'static str)> {
    let mut offset = HEADER_LEN;
    loop {
        match parse(&bytes[offset..]) {
            Parsed::End => return None,
            Parsed::Damaged(what) => return Some((offset as u64, what)),
            Parsed::Chunk { head, data, len } => {
                let Ok(place) = u32::try_from(offset) else { return Some((offset as u64, "too long")) };
                visit(place, head, data);
                offset += len;
            }
        }
    }
}

/// What lies at the beginning of some bytes.
pub(super) enum Parsed<'b> {
    /// A whole chunk of `len` bytes.
    Chunk { head: &'b [u8], data: &'b [u8], len: usize },
    /// Nothing, or the zeros that a file is prolonged with.
    End,
    /// Something else.
    Damaged(&'static str),
}

pub(super) fn parse(bytes: &[u8]) -> Parsed<'_> {
    if bytes.len() < SHORTEST {
        let zeros = bytes.iter().all(|byte| *byte == 0);
        return if zeros { Parsed::End } else { Parsed::Damaged("not enough bytes to read the chunk header") };
    }
    if bytes[..CHUNK_HEADER_LEN - 1].iter().all(|byte| *byte == 0) {
        return Parsed::End;
    }
    let Some((len, varint_len)) = data_length(bytes) else { return Parsed::Damaged("bad chunk length") };
    let start = CHUNK_HEADER_LEN + varint_len;
    let Some(end) = start.checked_add(len).filter(|end| bytes.len().checked_sub(*end).is_some_and(|left| left >= CHECKSUM_LEN)) else {
        return Parsed::Damaged("not enough bytes to read the chunk");
    };
    let checksum = crc32c::crc32c(&bytes[..end]).to_be_bytes();
    if checksum != bytes[end..end + CHECKSUM_LEN] {
        return Parsed::Damaged("checksum mismatch");
    }
    Parsed::Chunk { head: &bytes[..CHUNK_HEADER_LEN], data: &bytes[start..end], len: end + CHECKSUM_LEN }
}

/// Bytes of the whole chunk that begins here, if its length can be read.
pub(super) fn length(bytes: &[u8]) -> Option<usize> {
    let (len, varint_len) = data_length(bytes)?;
    len.checked_add(CHUNK_HEADER_LEN + varint_len + CHECKSUM_LEN)
}

/// Length of the data and of the number that says so; Prometheus reads at most five bytes of it.
fn data_length(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut len = 0u64;
    for (at, byte) in bytes.get(CHUNK_HEADER_LEN..)?.iter().take(5).enumerate() {
        len |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(len).ok()?, at + 1));
        }
    }
    None
}

fn word(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8].iter().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

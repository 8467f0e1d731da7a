//! One series of a new block: its chunks from all sources, without what is deleted or outside the block's time, in order.
//!
//! Most chunks go through as they are. Those that overlap are merged; those of which samples are left out, and floats that are to
//! be packed anew, are decoded and encoded again.
//!
//! # Invariants
//! - Chunks out of here are in order of time and do not overlap; none is empty.
//! - Start timestamps are kept, whatever encoding was asked for.

use super::chain;
use super::source::{SourceChunk, SourceSeries};
use crate::block::ChunkIn;
use crate::chunk::block::{BYTES_MAX, BlockEncoder, SAMPLES_MAX};
use crate::chunk::{self, Corrupt, EncodeOptions, Encoding, Sample, Value};
use crate::db::FloatEncoding;
use model::Timestamp;
use storage::{Column, Interval};

/// What a chunk costs beside its samples: count, first time and value in full, length, encoding and checksum, its entry in the index.
const CHUNK_COST: usize = 33;
/// Chunks of blocks stay as they are if fewer of them would save less than one in so many of their bytes.
const WORTH_PACKING: usize = 48;
/// The most bytes of a chunk that may have histograms.
const MIXED_BYTES_MAX: usize = 1024;

/// What becomes of floats that could stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Floats {
    /// Chunks are kept, but for those of another encoding than this.
    Keep(FloatEncoding),
    /// Consecutive chunks, which are those of a head, are packed into fewer, of this encoding.
    Pack(FloatEncoding),
    /// Likewise chunks of blocks, unless that would save next to nothing, for most have been packed before.
    Repack(FloatEncoding),
}

impl Floats {
    fn encoding(self) -> FloatEncoding {
        let (Self::Keep(encoding) | Self::Pack(encoding) | Self::Repack(encoding)) = self;
        encoding
    }
}

/// Builds one series after another; keeps its buffers.
pub(super) struct Builder {
    floats: Floats,
    /// First and last instant of the block, both included.
    range: (i64, i64),
    made: Vec<Made>,
    bytes: Vec<u8>,
    column: Column,
    encoder: BlockEncoder,
}

/// A chunk of the new block.
struct Made {
    min_time: i64,
    max_time: i64,
    encoding: Encoding,
    bytes: Bytes,
}

enum Bytes {
    /// Those of a source's chunk.
    Kept { source: usize, chunk: SourceChunk },
    /// In [`Builder::bytes`].
    New { offset: usize, len: usize },
}

/// A chunk of a source, and whether all of it goes into the block.
#[derive(Clone, Copy)]
struct Piece {
    source: usize,
    chunk: SourceChunk,
    whole: bool,
}

impl Builder {
    /// For a block of `[min_time, max_time)`.
    pub(super) fn new(min_time: i64, max_time: i64, floats: Floats) -> Self {
        let range = (min_time, max_time.saturating_sub(1));
        Self { floats, range, made: Vec::new(), bytes: Vec::new(), column: Column::default(), encoder: BlockEncoder::new() }
    }

    /// To read samples only.
    pub(super) fn reading(range: Interval) -> Self {
        Self { range: (range.start.0, range.end.0), ..Self::new(0, 0, Floats::Keep(FloatEncoding::Xor)) }
    }

    /// The samples of the series that all of `sources` have.
    ///
    /// # Errors
    /// When a chunk does not decode.
    pub(super) fn samples_of(&self, sources: &[&SourceSeries]) -> Result<Vec<Sample>, Corrupt> {
        let pieces = self.pieces(sources);
        let mut samples = Vec::new();
        let mut rest = pieces.as_slice();
        while !rest.is_empty() {
            let (pieces, after) = rest.split_at(overlapping(rest));
            samples.append(&mut self.merged(pieces, sources)?);
            rest = after;
        }
        Ok(samples)
    }

    /// The chunks of the series that all of `sources` have; none if no sample is left.
    ///
    /// # Errors
    /// When a chunk that must be decoded does not.
    pub(super) fn build<'s>(&'s mut self, sources: &[&'s SourceSeries]) -> Result<Vec<ChunkIn<'s>>, Corrupt> {
        self.made.clear();
        self.bytes.clear();
        let pieces = self.pieces(sources);
        let mut rest = pieces.as_slice();
        while let Some(first) = rest.first() {
            let end = overlapping(rest);
            let packable = match self.floats {
                Floats::Pack(_) | Floats::Repack(_) if is_float(first) => run_of_floats(rest),
                Floats::Pack(_) | Floats::Repack(_) | Floats::Keep(_) => 0,
            };
            let taken = if packable > 0 && self.are_packed(&rest[..packable], sources) {
                for piece in &rest[..packable] {
                    self.keep(*piece);
                }
                packable
            } else if packable > 0 {
                self.pack(&rest[..packable], sources)?;
                packable
            } else if end > 1 {
                self.merge(&rest[..end], sources)?;
                end
            } else {
                self.single(*first, sources)?;
                1
            };
            rest = &rest[taken..];
        }
        let bytes = &self.bytes;
        let chunk = |made: &Made| ChunkIn {
            min_time: made.min_time,
            max_time: made.max_time,
            encoding: made.encoding,
            bytes: match made.bytes {
                Bytes::Kept { source, ref chunk } => sources[source].bytes(chunk),
                Bytes::New { offset, len } => &bytes[offset..offset + len],
            },
        };
        Ok(self.made.iter().map(chunk).collect())
    }

    /// Chunks that have samples for the block, in the order of their first ones, repeated ones once.
    fn pieces(&self, sources: &[&SourceSeries]) -> Vec<Piece> {
        let (first, last) = self.range;
        let mut pieces = Vec::new();
        for (source, series) in sources.iter().enumerate() {
            for chunk in series.chunks() {
                let inside = chunk.max_time >= first && chunk.min_time <= last;
                if !inside || series.deleted().covers_all(chunk.min_time, chunk.max_time) {
                    continue;
                }
                let clipped = chunk.min_time < first || chunk.max_time > last;
                let whole = !clipped && !series.deleted().overlaps(chunk.min_time, chunk.max_time);
                pieces.push(Piece { source, chunk: *chunk, whole });
            }
        }
        pieces.sort_by_key(|piece| (piece.chunk.min_time, piece.chunk.max_time));
        pieces.dedup_by(|b, a| {
            let key = |piece: &Piece| (piece.whole, piece.chunk.min_time, piece.chunk.max_time, piece.chunk.encoding);
            a.whole && key(a) == key(b) && bytes_of(a, sources) == bytes_of(b, sources)
        });
        pieces
    }

    /// A chunk that overlaps no other.
    fn single(&mut self, piece: Piece, sources: &[&SourceSeries]) -> Result<(), Corrupt> {
        let chunk = piece.chunk;
        let keep = match chunk.encoding {
            Encoding::Xor => self.floats == Floats::Keep(FloatEncoding::Xor),
            Encoding::Xor2 => self.floats.encoding() == FloatEncoding::Xor2,
            Encoding::Histogram | Encoding::FloatHistogram | Encoding::HistogramSt | Encoding::FloatHistogramSt => true,
        };
        if keep && piece.whole {
            self.keep(piece);
            return Ok(());
        }
        if is_float(&piece) {
            return self.pack(&[piece], sources);
        }
        let samples = self.samples(piece, sources)?;
        self.encode(&samples);
        Ok(())
    }

    /// Whether packing chunks of blocks anew would be in vain: whole ones of the right encoding, and as few as can be, or so long that
    /// fewer would hardly be shorter.
    ///
    /// What a packer made is kept by that, and what Prometheus made, with a quarter of the samples in a chunk, is not.
    fn are_packed(&self, pieces: &[Piece], sources: &[&SourceSeries]) -> bool {
        if !matches!(self.floats, Floats::Repack(_)) {
            return false;
        }
        let wanted = match self.floats.encoding() {
            FloatEncoding::Xor => Encoding::Xor,
            FloatEncoding::Xor2 => Encoding::Xor2,
        };
        let (mut samples, mut bytes) = (0, 0);
        for piece in pieces {
            let chunk = bytes_of(piece, sources);
            if !piece.whole || piece.chunk.encoding != wanted {
                return false;
            }
            samples += usize::from(chunk::sample_count(wanted, chunk).unwrap_or(0));
            bytes += chunk.len();
        }
        let fewest = samples.div_ceil(SAMPLES_MAX).max(bytes.div_ceil(BYTES_MAX));
        pieces.len().saturating_sub(fewest) * CHUNK_COST * WORTH_PACKING <= bytes
    }

    fn keep(&mut self, piece: Piece) {
        let Piece { source, chunk, .. } = piece;
        let bytes = Bytes::Kept { source, chunk };
        self.made.push(Made { min_time: chunk.min_time, max_time: chunk.max_time, encoding: chunk.encoding, bytes });
    }

    /// Chunks that overlap.
    fn merge(&mut self, pieces: &[Piece], sources: &[&SourceSeries]) -> Result<(), Corrupt> {
        let samples = self.merged(pieces, sources)?;
        self.encode(&samples);
        Ok(())
    }

    fn merged(&self, pieces: &[Piece], sources: &[&SourceSeries]) -> Result<Vec<Sample>, Corrupt> {
        if let [piece] = pieces {
            return self.samples(*piece, sources);
        }
        Ok(chain::merge(pieces.iter().map(|piece| self.samples(*piece, sources)).collect::<Result<_, _>>()?))
    }

    /// Chunks of floats that follow each other.
    fn pack(&mut self, pieces: &[Piece], sources: &[&SourceSeries]) -> Result<(), Corrupt> {
        self.column.clear();
        for piece in pieces {
            let from = self.column.len();
            chunk::decode(piece.chunk.encoding, bytes_of(piece, sources), self.range.0..=self.range.1, &mut self.column)?;
            if !piece.whole {
                sources[piece.source].deleted().retain(&mut self.column, from);
            }
        }
        if let [piece] = pieces
            && piece.whole
            && self.has_starts()
        {
            // It is of the one encoding that can hold them.
            self.keep(*piece);
            return Ok(());
        }
        self.pack_floats();
        Ok(())
    }

    fn has_starts(&self) -> bool {
        self.column.starts.iter().any(|start| *start != 0)
    }

    /// The samples of a chunk that belong into the block.
    fn samples(&self, piece: Piece, sources: &[&SourceSeries]) -> Result<Vec<Sample>, Corrupt> {
        let deleted = sources[piece.source].deleted();
        let mut samples = Vec::new();
        chunk::samples(piece.chunk.encoding, bytes_of(&piece, sources), |sample| {
            let inside = self.range.0 <= sample.time && sample.time <= self.range.1;
            if piece.whole || (inside && !deleted.covers(sample.time)) {
                samples.push(sample);
            }
        })?;
        Ok(samples)
    }

    fn encode(&mut self, samples: &[Sample]) {
        self.column.clear();
        for sample in samples {
            let Value::Float(value) = sample.value else { return self.encode_mixed(samples) };
            self.column.push(Timestamp(sample.time), value);
            self.column.set_start(Timestamp(sample.start));
        }
        self.pack_floats();
    }

    /// Samples some of which are histograms.
    fn encode_mixed(&mut self, samples: &[Sample]) {
        let options = EncodeOptions {
            float: self.floats.encoding(),
            float_starts: true,
            histogram_starts: true,
            samples_max: SAMPLES_MAX as u16,
            bytes_max: MIXED_BYTES_MAX,
        };
        for encoded in chunk::encode(samples, &options) {
            self.push_new(encoded.min_time, encoded.max_time, encoded.encoding, &encoded.bytes);
        }
    }

    /// The floats in the buffer.
    fn pack_floats(&mut self) {
        let xor2 = self.floats.encoding() == FloatEncoding::Xor2 || self.has_starts();
        let Self { column, encoder, made, bytes, .. } = self;
        if xor2 {
            encoder.xor2(&column.starts, &column.times, &column.values, |min, max, chunk| {
                push_new(made, bytes, min, max, Encoding::Xor2, chunk)
            });
        } else {
            encoder.xor(&column.times, &column.values, |min, max, chunk| push_new(made, bytes, min, max, Encoding::Xor, chunk));
        }
    }

    fn push_new(&mut self, min_time: i64, max_time: i64, encoding: Encoding, chunk: &[u8]) {
        push_new(&mut self.made, &mut self.bytes, min_time, max_time, encoding, chunk);
    }
}

fn push_new(made: &mut Vec<Made>, bytes: &mut Vec<u8>, min_time: i64, max_time: i64, encoding: Encoding, chunk: &[u8]) {
    let offset = bytes.len();
    bytes.extend_from_slice(chunk);
    made.push(Made { min_time, max_time, encoding, bytes: Bytes::New { offset, len: chunk.len() } });
}

fn bytes_of<'s>(piece: &Piece, sources: &[&'s SourceSeries]) -> &'s [u8] {
    sources[piece.source].bytes(&piece.chunk)
}

fn is_float(piece: &Piece) -> bool {
    matches!(piece.chunk.encoding, Encoding::Xor | Encoding::Xor2)
}

/// How many of the first pieces overlap, directly or through others; at least one.
fn overlapping(pieces: &[Piece]) -> usize {
    let mut end_time = i64::MIN;
    pieces
        .iter()
        .enumerate()
        .position(|(i, piece)| {
            let apart = i > 0 && piece.chunk.min_time > end_time;
            end_time = end_time.max(piece.chunk.max_time);
            apart
        })
        .unwrap_or(pieces.len())
}

/// How many of the first pieces are floats and overlap neither each other nor the one after.
fn run_of_floats(pieces: &[Piece]) -> usize {
    let mut count = 0;
    while let [piece, rest @ ..] = &pieces[count..] {
        let overlaps_next = rest.first().is_some_and(|next| next.chunk.min_time <= piece.chunk.max_time);
        if !is_float(piece) || overlaps_next {
            break;
        }
        count += 1;
    }
    count
}

#[cfg(test)]
#[path = "series_tests.rs"]
mod tests;

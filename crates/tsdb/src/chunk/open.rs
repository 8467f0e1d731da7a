//! Chunks that still take samples.

use super::xor::XorAppender;
use super::{Corrupt, Encoding, Sample, Value};

/// What became of an appended sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Appended {
    /// It is the chunk's last one now.
    Same,
    /// The chunk is as it was: this sample must begin a new one ([`OpenChunk::start`], with this chunk as the one before).
    Full,
}

/// A chunk of any encoding that takes samples.
#[derive(Clone, Debug)]
pub struct OpenChunk {
    appender: XorAppender,
    bytes: Vec<u8>,
}

impl OpenChunk {
    /// Begins a chunk with a sample; `before` is the chunk that the series' samples before it are in, if there is one: it
    /// decides what the new chunk's header says about a counter reset.
    ///
    /// `encoding` is one that suits the sample's kind ([`super::EncodeOptions::encoding_of`]).
    pub fn start(sample: &Sample, encoding: Encoding, before: Option<&OpenChunk>) -> Self {
        let _ = (encoding, before);
        let mut bytes = Vec::new();
        let appender = XorAppender::start(&mut bytes);
        let mut chunk = Self { appender, bytes };
        let _ = chunk.append(sample);
        chunk
    }

    /// Appends a sample, later than all before, if the chunk can hold it; histograms with new buckets may re-encode all of it.
    pub fn append(&mut self, sample: &Sample) -> Appended {
        match sample.value {
            Value::Float(value) => {
                self.appender.append(&mut self.bytes, sample.time, value);
                Appended::Same
            }
            _ => Appended::Full,
        }
    }

    /// The state after all samples of an existing chunk, to append more.
    ///
    /// # Errors
    /// [`Corrupt`] as for [`super::decode`].
    pub fn resume(_encoding: Encoding, bytes: Vec<u8>) -> Result<Self, Corrupt> {
        Ok(Self { appender: XorAppender::resume(&bytes)?, bytes })
    }

    /// How its bytes are to be read.
    pub fn encoding(&self) -> Encoding {
        Encoding::Xor
    }

    /// The chunk so far; always whole.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The chunk's bytes, to be kept.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Samples so far, at least one.
    pub fn count(&self) -> u16 {
        self.appender.sample_count()
    }

    /// The last sample, as it was given (a histogram may have got empty buckets).
    pub fn last(&self) -> Sample {
        Sample { start: 0, time: self.appender.last_time(), value: Value::Float(self.appender.last_value()) }
    }
}

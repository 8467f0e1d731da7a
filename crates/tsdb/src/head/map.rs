//! Moving full chunks from memory to files.

use super::Head;
use super::mapped::{Mapped, MappedChunk, ToWrite};
use super::series::FullChunk;
use crate::chunk::Encoded;
use std::io;
use std::sync::{Arc, PoisonError};
use storage::{SeriesRef, Slot};

/// Full chunks of one series, copied out of its slab.
struct Waiting {
    slot: Slot,
    series_ref: SeriesRef,
    in_order: Vec<Encoded>,
    late: Vec<Encoded>,
}

impl Head {
    /// Moves full chunks to files and hands the files' buffers to the operating system; how many chunks. To be called every few
    /// seconds. No lock that a commit needs is held while a disk is waited for.
    ///
    /// # Errors
    /// When a file does not take a chunk: that and later ones stay in memory until the next call.
    pub fn map_full_chunks(&self) -> io::Result<u64> {
        let Some(mapped) = &self.mapped else { return Ok(0) };
        let _one = self.mapping.lock().unwrap_or_else(PoisonError::into_inner);
        let mut moved = 0;
        for number in 0.. {
            let Some(mut slab) = self.slabs.lock_number(number) else { break };
            let slots = slab.take_waiting(number);
            let waiting: Vec<Waiting> = slots
                .into_iter()
                .filter_map(|slot| {
                    let series = slab.series(slot)?;
                    let late = series.ooo().into_iter().flat_map(|ooo| ooo.full()).filter_map(|full| match &full.chunk {
                        FullChunk::Memory(chunk) => Some(chunk.clone()),
                        FullChunk::Mapped(_) => None,
                    });
                    Some(Waiting { slot, series_ref: series.series_ref(), in_order: series.full().to_vec(), late: late.collect() })
                })
                .collect();
            drop(slab);
            if waiting.is_empty() {
                continue;
            }
            let (written, outcome) = write(mapped, &waiting);
            let Some(mut slab) = self.slabs.lock_number(number) else { break };
            let mut written = written.into_iter();
            for waiting in &waiting {
                let Some(Written { in_order, late, all }) = written.next() else {
                    slab.await_file(waiting.slot);
                    continue;
                };
                moved += (in_order.len() + late.len()) as u64;
                if let Some(series) = slab.series_mut(waiting.slot).filter(|series| series.series_ref() == waiting.series_ref) {
                    for (chunk, place) in waiting.in_order.iter().zip(in_order) {
                        series.replace_by_mapped(&chunk.bytes, place);
                    }
                    for (bytes, place) in late {
                        for full in series.ooo_mut().full_mut() {
                            if matches!(&full.chunk, FullChunk::Memory(chunk) if Arc::ptr_eq(&chunk.bytes, &bytes)) {
                                full.chunk = FullChunk::Mapped(place);
                            }
                        }
                    }
                    series.settle();
                }
                if !all {
                    slab.await_file(waiting.slot);
                }
            }
            drop(slab);
            outcome?;
        }
        mapped.flush()?;
        Ok(moved)
    }
}

/// What a file took of a series.
struct Written {
    /// For the first ones.
    in_order: Vec<MappedChunk>,
    late: Vec<(Arc<[u8]>, MappedChunk)>,
    all: bool,
}

/// Writes series after series, until an error.
fn write(mapped: &Mapped, waiting: &[Waiting]) -> (Vec<Written>, io::Result<()>) {
    let mut done = Vec::with_capacity(waiting.len());
    for series in waiting {
        let mut written = Written { in_order: Vec::new(), late: Vec::new(), all: true };
        let outcome = write_series(mapped, series, &mut written);
        written.all &= outcome.is_ok();
        done.push(written);
        if outcome.is_err() {
            return (done, outcome);
        }
    }
    (done, Ok(()))
}

fn write_series(mapped: &Mapped, series: &Waiting, written: &mut Written) -> io::Result<()> {
    let to_write = |chunk: &Encoded, out_of_order| {
        let Encoded { min_time, max_time, encoding, ref bytes } = *chunk;
        mapped.write(&ToWrite { series_ref: series.series_ref, min_time, max_time, encoding, out_of_order, bytes })
    };
    for chunk in &series.in_order {
        // One whose times cannot be written down stays in memory, and all behind it, for the sake of their order.
        let Some(place) = to_write(chunk, false)? else { break };
        written.in_order.push(place);
    }
    for chunk in &series.late {
        if let Some(place) = to_write(chunk, true)? {
            written.late.push((chunk.bytes.clone(), place));
        }
    }
    Ok(())
}

//! What queries hold: samples against one limit, bytes against two.
//!
//! Bytes are reckoned from the sizes of the buffers, not asked of the allocator: step results, decoded columns, labels,
//! histograms and the answer until it is written.

use super::api::QueryError;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The memory of all queries together. Shared by engines that follow each other when the configuration changes.
#[derive(Debug)]
pub struct MemoryPool {
    limit: u64,
    used: AtomicU64,
}

impl MemoryPool {
    /// Of `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self { limit, used: AtomicU64::new(0) }
    }

    /// Bytes that may be held.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Bytes held now.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

/// How much of something is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Size {
    pub samples: u64,
    pub bytes: u64,
}

impl Size {
    /// Step results: a value and a bit for each step of each series.
    pub fn steps(series: usize, steps: usize) -> Self {
        let samples = (series as u64).saturating_mul(steps as u64);
        Self { samples, bytes: samples.saturating_mul(8).saturating_add(samples / 8).saturating_add(96 * series as u64) }
    }

    /// Bytes that are no samples.
    pub fn bytes(bytes: u64) -> Self {
        Self { samples: 0, bytes }
    }
}

/// One query's account.
#[derive(Debug)]
pub(crate) struct Ledger {
    max_samples: u64,
    max_bytes: u64,
    pool: Arc<MemoryPool>,
    samples: AtomicU64,
    samples_peak: AtomicU64,
    bytes: AtomicU64,
    bytes_peak: AtomicU64,
}

impl Ledger {
    pub fn new(max_samples: usize, max_bytes: u64, pool: Arc<MemoryPool>) -> Arc<Self> {
        let zero = || AtomicU64::new(0);
        let (samples, samples_peak, bytes, bytes_peak) = (zero(), zero(), zero(), zero());
        Arc::new(Self { max_samples: max_samples as u64, max_bytes, pool, samples, samples_peak, bytes, bytes_peak })
    }

    /// What may still be held.
    pub fn left(&self) -> Size {
        let bytes = self.max_bytes.saturating_sub(self.bytes.load(Ordering::Relaxed));
        Size {
            samples: self.max_samples.saturating_sub(self.samples.load(Ordering::Relaxed)),
            bytes: bytes.min(self.pool.limit.saturating_sub(self.pool.used())),
        }
    }

    /// The most that was held at one time.
    pub fn peak(&self) -> Size {
        Size { samples: self.samples_peak.load(Ordering::Relaxed), bytes: self.bytes_peak.load(Ordering::Relaxed) }
    }
}

/// Something held; given back on drop.
#[must_use]
#[derive(Debug)]
pub(crate) struct Charge {
    ledger: Arc<Ledger>,
    size: Size,
}

impl Charge {
    /// Of nothing yet.
    pub fn of(ledger: &Arc<Ledger>) -> Self {
        Self { ledger: ledger.clone(), size: Size::default() }
    }

    /// Charges more.
    pub fn add(&mut self, more: Size) -> Result<(), QueryError> {
        let ledger = &*self.ledger;
        // What is refused is given back with the rest, on drop.
        self.size.samples += more.samples;
        self.size.bytes += more.bytes;
        let samples = ledger.samples.fetch_add(more.samples, Ordering::Relaxed) + more.samples;
        let bytes = ledger.bytes.fetch_add(more.bytes, Ordering::Relaxed) + more.bytes;
        let together = ledger.pool.used.fetch_add(more.bytes, Ordering::Relaxed) + more.bytes;
        if samples > ledger.max_samples {
            return Err(QueryError::TooManySamples("query execution".into()));
        }
        if bytes > ledger.max_bytes {
            return Err(QueryError::TooMuchMemory { limit: ledger.max_bytes, together: false });
        }
        if together > ledger.pool.limit {
            return Err(QueryError::TooMuchMemory { limit: ledger.pool.limit, together: true });
        }
        ledger.samples_peak.fetch_max(samples, Ordering::Relaxed);
        ledger.bytes_peak.fetch_max(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// What it holds.
    pub fn bytes(&self) -> u64 {
        self.size.bytes
    }

    /// Charges what a buffer has grown by, if it has.
    pub fn grow_to(&mut self, bytes: u64) -> Result<(), QueryError> {
        match bytes.checked_sub(self.size.bytes) {
            None | Some(0) => Ok(()),
            Some(more) => self.add(Size::bytes(more)),
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let Size { samples, bytes } = self.size;
        self.ledger.samples.fetch_sub(samples, Ordering::Relaxed);
        self.ledger.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.ledger.pool.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Keeps a charge as long as what it was for. Answers with different ones are alike.
#[derive(Clone, Debug, Default)]
pub struct Held {
    _until_dropped: Option<Arc<Charge>>,
}

impl Held {
    pub(crate) fn new(charge: Charge) -> Self {
        Self { _until_dropped: Some(Arc::new(charge)) }
    }
}

impl PartialEq for Held {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// Bytes as people write them.
pub(crate) fn human(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
    let (mut number, mut unit) = (bytes as f64, 0);
    while number >= 1024.0 && unit + 1 < UNITS.len() {
        number /= 1024.0;
        unit += 1;
    }
    if number.fract() == 0.0 { format!("{number} {}", UNITS[unit]) } else { format!("{number:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn what_is_refused_is_given_back() {
        let pool = Arc::new(MemoryPool::new(100));
        let (one, other) = (Ledger::new(10, 80, pool.clone()), Ledger::new(10, 80, pool.clone()));
        let mut held = Charge::of(&one);
        held.add(Size { samples: 10, bytes: 60 }).unwrap();
        assert!(matches!(Charge::of(&one).add(Size { samples: 1, bytes: 0 }), Err(QueryError::TooManySamples(_))));
        assert_eq!(Charge::of(&one).add(Size::bytes(21)), Err(QueryError::TooMuchMemory { limit: 80, together: false }));
        assert_eq!(Charge::of(&other).add(Size::bytes(41)), Err(QueryError::TooMuchMemory { limit: 100, together: true }));
        assert_eq!((pool.used(), one.peak()), (60, Size { samples: 10, bytes: 60 }));
        let mut grown = Charge::of(&other);
        grown.grow_to(5).unwrap();
        grown.grow_to(4).unwrap();
        grown.grow_to(9).unwrap();
        assert_eq!(pool.used(), 69);
        drop((held, grown));
        assert_eq!(pool.used(), 0);
    }
}

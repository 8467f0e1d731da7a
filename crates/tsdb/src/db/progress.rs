//! How far a replay has come, for whoever waits for it.

use crate::wal::SegmentIndex;
use std::sync::atomic::{AtomicU32, Ordering};

/// Numbers of the log's segments.
#[derive(Debug, Default)]
pub(super) struct Progress {
    min: AtomicU32,
    max: AtomicU32,
    current: AtomicU32,
}

/// How far a replay has come: numbers of the log's segments, all 0 before they were counted and for an empty log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayProgress {
    /// The first one to be read.
    pub min: u32,
    /// The last one.
    pub max: u32,
    /// The one that was read last.
    pub current: u32,
}

impl Progress {
    pub fn begin(&self, first: SegmentIndex, last: SegmentIndex) {
        self.min.store(first.0, Ordering::Relaxed);
        self.max.store(last.0, Ordering::Relaxed);
        self.current.store(first.0, Ordering::Relaxed);
    }

    pub fn read(&self, segment: SegmentIndex) {
        self.current.store(segment.0, Ordering::Relaxed);
    }

    pub fn get(&self) -> ReplayProgress {
        let [min, max, current] = [&self.min, &self.max, &self.current].map(|number| number.load(Ordering::Relaxed));
        ReplayProgress { min, max, current }
    }
}

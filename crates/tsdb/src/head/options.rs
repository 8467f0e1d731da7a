//! How a head is set up.

/// How a head is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadOptions {
    /// No chunk crosses a multiple of it, and samples older than the newest by more than half of it are out of bounds.
    pub chunk_range_ms: i64,
    /// Samples may be this much older than the newest one of the head, in milliseconds; 0 = a series' samples come in order.
    pub out_of_order_window_ms: i64,
    /// Out-of-order samples of a series before they are encoded as a chunk.
    pub out_of_order_samples_max: usize,
    /// Whether start timestamps of floats are kept, in the log and in chunks.
    pub start_timestamps: bool,
    /// Whether start timestamps of histograms are kept in chunks.
    pub histogram_start_timestamps: bool,
    /// Whether metadata goes into the log.
    pub metadata_records: bool,
    /// Exemplars kept in memory; 0 = none are taken.
    pub exemplars_max: usize,
}

impl Default for HeadOptions {
    fn default() -> Self {
        Self {
            chunk_range_ms: super::CHUNK_RANGE_MS,
            out_of_order_window_ms: 0,
            out_of_order_samples_max: super::ooo::SAMPLES_MAX,
            start_timestamps: false,
            histogram_start_timestamps: false,
            metadata_records: false,
            exemplars_max: 0,
        }
    }
}

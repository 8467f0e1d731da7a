//! Any bytes as a record of the log: no panic, and what was decoded whole is decoded the same after it was encoded again.
#![no_main]

use model::histogram::{FloatHistogram, Histogram};
use tsdb::wal::record::{self, Buckets, Kind, Layout, Malformed};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((once, Ok(()))) = again(bytes) else { return };
    // Numbers may be written longer than need be and fields in any order, so it is the second time that counts.
    let twice = if once.is_empty() { once.clone() } else { again(&once).expect("of a known kind").0 };
    assert_eq!(once, twice);
});

/// The record encoded from what was decoded; none if there is nothing to decode.
fn again(bytes: &[u8]) -> Option<(Vec<u8>, Result<(), Malformed>)> {
    let mut once = Vec::new();
    let decoded = match record::kind(bytes).ok()? {
        Kind::Series => {
            let mut to = record::SeriesEncoder::start(&mut once);
            record::decode_series(bytes, |series, labels| to.push(series, labels.iter().copied()))
        }
        Kind::Samples => {
            let mut to = record::SamplesEncoder::start(&mut once);
            record::decode_samples(bytes, |series, time, value| to.push(series, time, value))
        }
        Kind::SamplesV2 => {
            let mut to = record::SamplesV2Encoder::start(&mut once);
            record::decode_samples_v2(bytes, |series, start, time, value| to.push(series, start, time, value))
        }
        Kind::Tombstones => {
            let mut to = record::TombstonesEncoder::start(&mut once);
            record::decode_tombstones(bytes, |series, first, last| to.push(series, first, last))
        }
        Kind::Exemplars => {
            let mut to = record::ExemplarsEncoder::start(&mut once);
            record::decode_exemplars(bytes, |series, time, value, labels| to.push(series, time, value, labels.iter().copied()))
        }
        Kind::MmapMarkers => {
            let mut to = record::MmapMarkersEncoder::start(&mut once);
            record::decode_mmap_markers(bytes, |series, chunk| to.push(series, chunk))
        }
        Kind::Metadata => {
            let mut to = record::MetadataEncoder::start(&mut once);
            record::decode_metadata(bytes, |series, metric_type, unit, help| to.push(series, metric_type, unit, help))
        }
        Kind::Histograms => histograms::<Histogram>(bytes, Layout::Exponential, &mut once),
        Kind::CustomBucketsHistograms => histograms::<Histogram>(bytes, Layout::CustomBuckets, &mut once),
        Kind::HistogramsV2 => histograms::<Histogram>(bytes, Layout::WithStarts, &mut once),
        Kind::FloatHistograms => histograms::<FloatHistogram>(bytes, Layout::Exponential, &mut once),
        Kind::CustomBucketsFloatHistograms => histograms::<FloatHistogram>(bytes, Layout::CustomBuckets, &mut once),
        Kind::FloatHistogramsV2 => histograms::<FloatHistogram>(bytes, Layout::WithStarts, &mut once),
        Kind::Unknown(_) => return None,
    };
    Some((once, decoded))
}

fn histograms<H: Buckets>(bytes: &[u8], layout: Layout, to: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut to = record::HistogramsEncoder::start(to, layout);
    record::decode_histograms(bytes, |series, start, time, histogram: &mut H| to.push(series, start, time, histogram))
}

//! The corpora of the fuzz targets, replayed without a fuzzer.

mod common;

use std::path::Path;

use exposition::Format;

fn replay(target: &str, format: Format) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/fuzz").join(target);
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).expect("the corpus is in testdata") {
        let page = std::fs::read(entry.expect("a readable folder").path()).expect("a readable file");
        common::compare(&page, &page, format);
        count += 1;
    }
    assert!(count > 5, "{count} files in {}", folder.display());
}

#[test]
fn text() {
    replay("exposition_text", Format::PrometheusText);
}

#[test]
fn open_metrics() {
    replay("exposition_openmetrics", Format::OpenMetrics);
}

//! How fast pages are parsed, on one core: median of five, each of about a quarter of a second.
//!
//! Shapes: `race_page`, a target of the race (2,000 series, most with seven labels; `testdata/exposition/race_page.txt.gz`);
//! `node_exporter`, a page of short lines with two lines of metadata for each family (made here, or the file named by `NODE_PAGE`).
//!
//! - *plain*: token by token, the twin that defines the answers;
//! - *new*: every series is unknown, its syntax is checked;
//! - *new, labels*: and its labels are decoded;
//! - *known*: every series is recognised by comparing a hash of 128 bits with the next expected one, as the scrape cache does;
//! - *known, memcmp*: by comparing the bytes themselves: what the parser costs without the hash.
//!
//! `cargo bench -p exposition --bench parse [-- WORD]` (only the rows whose name holds the word)

use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Read;
use std::time::{Duration, Instant};

use exposition::{Entry, Format, LabelPairs, Parser};
use twox_hash::XxHash3_128;

fn main() {
    let race = unpack(include_bytes!("../../../testdata/exposition/race_page.txt.gz"));
    let node =
        std::env::var("NODE_PAGE").map_or_else(|_| node_page(), |path| std::fs::read(path).expect("NODE_PAGE names a readable file"));
    for (name, page) in [("race_page", &race), ("node_exporter", &node)] {
        let series = series_of(page);
        println!("{name}: {} bytes, {} samples", page.len(), series.len());
        report("plain", page, series.len(), || count(page, |parser| parser.next_plain()));
        report("new", page, series.len(), || count(page, |parser| parser.next()));
        report("new, labels", page, series.len(), || with_labels(page));
        let hashes: Vec<u128> = series.iter().map(|raw| XxHash3_128::oneshot(raw)).collect();
        report("known", page, series.len(), || known(page, &hashes, XxHash3_128::oneshot));
        report("known, memcmp", page, series.len(), || known(page, &series, |raw| raw));
    }
}

fn unpack(packed: &[u8]) -> Vec<u8> {
    let mut page = Vec::new();
    flate2::read::GzDecoder::new(packed).read_to_end(&mut page).expect("the page in testdata is gzip");
    page
}

/// Lines as long as those of a node_exporter: 480 samples in 240 families.
fn node_page() -> Vec<u8> {
    let mut page = String::new();
    for family in 0..240_u64 {
        let name = format!("node_memory_field_{family}_bytes");
        let value = family * 1_237_000 + 4096;
        let _ = write!(page, "# HELP {name} Memory information field number {family}, in bytes.\n# TYPE {name} gauge\n");
        if family % 3 != 0 {
            let _ = writeln!(page, "{name} {value}");
        } else {
            for device in 0..4 {
                let _ = writeln!(page, "{name}{{device=\"eth{device}\",mode=\"idle\"}} {}.{:02}", value / 100 + device, value % 100);
            }
        }
    }
    page.into_bytes()
}

fn series_of(page: &[u8]) -> Vec<&[u8]> {
    let mut parser = Parser::new(page, Format::PrometheusText);
    let mut series = Vec::new();
    while let Some(entry) = parser.next().expect("a good page") {
        if let Entry::Sample(sample) = entry {
            series.push(sample.series);
        }
    }
    series
}

fn count<'a>(page: &'a [u8], next: impl Fn(&mut Parser<'a>) -> Result<Option<Entry<'a>>, exposition::ParseError>) -> f64 {
    let mut parser = Parser::new(page, Format::PrometheusText);
    let mut sum = 0.0;
    while let Some(entry) = next(&mut parser).expect("a good page") {
        if let Entry::Sample(sample) = black_box(entry) {
            sum += sample.value;
        }
    }
    sum
}

fn with_labels(page: &[u8]) -> f64 {
    let mut parser = Parser::new(page, Format::PrometheusText);
    let mut labels = LabelPairs::new();
    let mut sum = 0.0;
    while let Some(entry) = parser.next().expect("a good page") {
        if let Entry::Sample(sample) = entry {
            sample.labels(&mut labels).expect("good labels");
            sum += sample.value + black_box(&labels).len() as f64;
        }
    }
    sum
}

fn known<'a, K: PartialEq>(page: &'a [u8], expected: &[K], key: impl Fn(&'a [u8]) -> K) -> f64 {
    let mut parser = Parser::new(page, Format::PrometheusText);
    let (mut at, mut sum) = (0, 0.0);
    while let Some(entry) = parser.next_known(|raw, _| expected.get(at).is_some_and(|e| *e == key(raw))).expect("a good page") {
        if let Entry::Sample(sample) = black_box(entry) {
            at += 1;
            sum += sample.value;
        }
    }
    sum
}

fn report(what: &str, page: &[u8], samples: usize, mut pass: impl FnMut() -> f64) {
    // Cargo adds an option of its own.
    if std::env::args().skip(1).any(|word| !word.starts_with('-') && !what.contains(&word)) {
        return;
    }
    let mut seconds: Vec<f64> = (0..5).map(|_| seconds_per_pass(&mut pass)).collect();
    seconds.sort_by(f64::total_cmp);
    let median = seconds[2];
    println!(
        "  {what:14} {:6.2} GB/s  {:6.1} M samples/s  {:5.1} ns/sample",
        page.len() as f64 / median / 1e9,
        samples as f64 / median / 1e6,
        median * 1e9 / samples as f64
    );
}

fn seconds_per_pass(pass: &mut impl FnMut() -> f64) -> f64 {
    let start = Instant::now();
    let mut passes = 0;
    while start.elapsed() < Duration::from_millis(250) {
        black_box(pass());
        passes += 1;
    }
    start.elapsed().as_secs_f64() / f64::from(passes)
}

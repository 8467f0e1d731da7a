//! Samples of all kinds that Prometheus 2.42 knows, sent by remote write with times of one's choosing.

use super::remote_write::{field, post, varint};
use super::{Server, percent};
use serde_json::Value;
use std::collections::BTreeMap;

/// Samples as a server shows them: by labels in JSON and time in milliseconds, floats as bits, histograms in words.
pub type Shown = BTreeMap<String, BTreeMap<i64, String>>;

/// Time between two steps, in milliseconds.
pub const STEP_MS: i64 = 5_000;
/// Schemas of the histograms.
const SCHEMAS: [i32; 5] = [-4, -1, 0, 3, 8];
/// What comes late comes so much later.
const LATE_MS: i64 = 7 * 60_000;

/// Sends the steps in this range, some in each request; panics unless the server takes all of them.
pub fn send(address: &str, first_ms: i64, steps: std::ops::Range<i64>) {
    let steps: Vec<i64> = steps.collect();
    for some in steps.chunks(8) {
        let mut request = Vec::new();
        let mut series = |name: &str, label: &str, samples: &[Vec<u8>]| {
            let mut body = Vec::new();
            for (name, value) in [("__name__", name), ("n", label)] {
                let mut pair = Vec::new();
                field(&mut pair, 1, name.as_bytes());
                field(&mut pair, 2, value.as_bytes());
                field(&mut body, 1, &pair);
            }
            samples.iter().for_each(|sample| body.extend_from_slice(sample));
            field(&mut request, 1, &body);
        };
        let all = |sample: &dyn Fn(i64) -> Vec<u8>| -> Vec<Vec<u8>> { some.iter().map(|step| sample(*step)).collect() };
        for n in 0..4 {
            series("f", &n.to_string(), &all(&|step| float(first_ms + step * STEP_MS, (step * (n + 1)) as f64 / 8.0)));
        }
        for schema in SCHEMAS {
            series("h", &schema.to_string(), &all(&|step| histogram(first_ms + step * STEP_MS, step, schema, false)));
            series("fh", &schema.to_string(), &all(&|step| histogram(first_ms + step * STEP_MS, step, schema, true)));
        }
        // One that goes and comes, and one whose samples come late by turns.
        series("gap", "0", &all(&|step| if step % 100 < 60 { float(first_ms + step * STEP_MS, step as f64) } else { Vec::new() }));
        let late = |step: i64| first_ms + step * STEP_MS - if step % 3 == 0 { LATE_MS + 1 } else { 0 };
        some.iter().for_each(|step| series("late", "0", &[float(late(*step), *step as f64)]));
        assert_eq!(post(address, &request), Some(204));
    }
}

fn float(time: i64, value: f64) -> Vec<u8> {
    let mut sample = vec![1 << 3 | 1];
    sample.extend_from_slice(&value.to_bits().to_le_bytes());
    sample.push(2 << 3);
    varint(&mut sample, time.cast_unsigned());
    let mut out = Vec::new();
    field(&mut out, 2, &sample);
    out
}

/// Its counts grow with the steps, its spans now and then, and it is reset now and then.
fn histogram(time: i64, step: i64, schema: i32, floats: bool) -> Vec<u8> {
    let since_reset = step % 97;
    let buckets = 1 + since_reset / 20;
    let counts: Vec<i64> = (0..2 * buckets).map(|bucket| since_reset + bucket * 2).collect();
    let zeros = since_reset / 3;
    let negative = since_reset;
    let count = counts.iter().sum::<i64>() + zeros + negative;
    let mut body = Vec::new();
    let double = |out: &mut Vec<u8>, number: u8, value: f64| {
        out.push(number << 3 | 1);
        out.extend_from_slice(&value.to_bits().to_le_bytes());
    };
    let integer = |out: &mut Vec<u8>, number: u8, value: u64| {
        out.push(number << 3);
        varint(out, value);
    };
    let span = |out: &mut Vec<u8>, number: u8, offset: i64, len: i64| {
        let mut span = Vec::new();
        integer(&mut span, 1, zigzag(offset));
        integer(&mut span, 2, len.cast_unsigned());
        field(out, number, &span);
    };
    if floats {
        double(&mut body, 2, count as f64)
    } else {
        integer(&mut body, 1, count.cast_unsigned())
    }
    double(&mut body, 3, count as f64 * 1.5);
    integer(&mut body, 4, zigzag(i64::from(schema)));
    double(&mut body, 5, 0.001);
    if floats {
        double(&mut body, 7, zeros as f64)
    } else {
        integer(&mut body, 6, zeros.cast_unsigned())
    }
    span(&mut body, 8, 1, 1);
    if floats {
        packed(&mut body, 10, &[negative], true)
    } else {
        packed(&mut body, 9, &[negative], false)
    }
    span(&mut body, 11, -1, buckets);
    span(&mut body, 11, 2, buckets);
    if floats {
        packed(&mut body, 13, &counts, true);
    } else {
        let deltas: Vec<i64> = counts.iter().scan(0, |last, count| Some(count - std::mem::replace(last, *count))).collect();
        packed(&mut body, 12, &deltas, false);
    }
    integer(&mut body, 15, time.cast_unsigned());
    let mut out = Vec::new();
    field(&mut out, 4, &body);
    out
}

fn packed(out: &mut Vec<u8>, number: u8, values: &[i64], floats: bool) {
    let mut bytes = Vec::new();
    for value in values {
        if floats {
            bytes.extend_from_slice(&(*value as f64).to_bits().to_le_bytes());
        } else {
            varint(&mut bytes, zigzag(*value));
        }
    }
    field(out, number, &bytes);
}

fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}

/// All samples up to this step, and somewhat before the first one. No sample lies on the edge of the window.
///
/// Each series is asked for by itself: Prometheus 2.42 uses an iterator over float histograms again for integer ones, and then
/// shows the last of the former as the first of the latter.
pub fn shown(server: &Server, first_ms: i64, last_step: i64) -> Shown {
    let time_ms = first_ms + last_step * STEP_MS + 500;
    let range_s = (last_step * STEP_MS + 2 * LATE_MS) / 1000;
    let histograms = ["h", "fh"].into_iter().flat_map(|name| SCHEMAS.map(|schema| format!(r#"{name}{{n="{schema}"}}"#)));
    let mut shown = Shown::new();
    for selector in ["f", "gap", "late"].map(str::to_owned).into_iter().chain(histograms) {
        let query = percent(&format!("{selector}[{range_s}s]"));
        let answer = server.get(&format!("/api/v1/query?time={}.{:03}&query={query}", time_ms / 1000, time_ms % 1000));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = answer.json();
        assert!(answer["warnings"].is_null(), "{}", answer["warnings"]);
        for series in answer["data"]["result"].as_array().unwrap() {
            let points = shown.entry(series["metric"].to_string()).or_default();
            for kind in ["values", "histograms"] {
                for point in series[kind].as_array().into_iter().flatten() {
                    let time = (point[0].as_f64().unwrap() * 1000.0).round() as i64;
                    assert!(points.insert(time, words(&point[1])).is_none(), "two samples at {time}");
                }
            }
        }
    }
    shown
}

/// Numbers by their bits, as servers may write one in several ways.
fn words(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{:x}", text.parse::<f64>().unwrap().to_bits()),
        Value::Array(all) => all.iter().map(words).collect::<Vec<_>>().join(" "),
        Value::Object(parts) => parts.iter().map(|(name, part)| format!("{name}: {}", words(part))).collect::<Vec<_>>().join("; "),
        other => other.to_string(),
    }
}

/// Panics on the first difference.
#[track_caller]
pub fn assert_same(what: &str, want: &Shown, got: &Shown) {
    for (series, points) in want {
        let found = got.get(series).unwrap_or_else(|| panic!("{what}: no {series}; {} series are there", got.len()));
        for (time, value) in points {
            assert_eq!(Some(value), found.get(time), "{what}: {series} at {time}; {} of {} are there", found.len(), points.len());
        }
        let more = found.keys().find(|time| !points.contains_key(time));
        assert_eq!(more, None, "{what}: a sample of {series} that was never there or is deleted");
    }
    assert_eq!(want.len(), got.len(), "{what}: {:?}", got.keys().find(|series| !want.contains_key(*series)));
}

/// Deletes samples between two steps; the answer must be that it is done.
pub fn delete(server: &Server, selector: &str, first_ms: i64, steps: std::ops::Range<i64>) {
    let time = |step: i64| format!("{}.001", (first_ms + step * STEP_MS) / 1000);
    let path =
        format!("/api/v1/admin/tsdb/delete_series?match[]={}&start={}&end={}", percent(selector), time(steps.start), time(steps.end));
    let answer = super::send(&server.address, "POST", &path, &[], b"").unwrap();
    assert_eq!(answer.status, 204, "{}", answer.text());
}

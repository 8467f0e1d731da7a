//! Raw samples, as queries show them and as promtool dumps them.

use super::Server;
use serde_json::Value;
use std::collections::BTreeMap;

pub type Labels = BTreeMap<String, String>;

/// By series: time in milliseconds and the bits of the value.
pub type Samples = BTreeMap<Labels, BTreeMap<i64, u64>>;

/// Every sample of the last hour that a query shows.
pub fn shown(server: &Server) -> Samples {
    let data = server.query(r#"{__name__=~".+"}[1h]"#, None);
    let series = data["result"].as_array().unwrap().iter();
    series.map(|series| (labels_of(&series["metric"]), points_of(&series["values"]))).collect()
}

fn labels_of(metric: &Value) -> Labels {
    metric.as_object().unwrap().iter().map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect()
}

fn points_of(values: &Value) -> BTreeMap<i64, u64> {
    let point = |point: &Value| {
        let time_ms = (point[0].as_f64().unwrap() * 1000.0).round() as i64;
        (time_ms, point[1].as_str().unwrap().parse::<f64>().unwrap().to_bits())
    };
    values.as_array().into_iter().flatten().map(point).collect()
}

/// Reads `promtool tsdb dump`: lines of `{name="value", …} value time`. Values of labels here need no escapes.
pub fn dumped(text: &str) -> Samples {
    let mut samples = Samples::new();
    for line in text.lines() {
        let (labels, point) = line.strip_prefix('{').and_then(|l| l.split_once("} ")).unwrap_or_else(|| panic!("{line}"));
        let pairs = labels.split(", ").map(|pair| pair.split_once('=').unwrap());
        let labels = pairs.map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned())).collect();
        let (value, time_ms) = point.split_once(' ').unwrap();
        let bits = value.parse::<f64>().unwrap().to_bits();
        samples.entry(labels).or_default().insert(time_ms.parse().unwrap(), bits);
    }
    samples
}

/// Panics on the first acknowledged sample that is not there.
#[track_caller]
pub fn assert_kept(acknowledged: &Samples, found: &Samples) {
    assert!(count(acknowledged) > 0, "nothing was acknowledged");
    for (labels, points) in acknowledged {
        let kept = found.get(labels).unwrap_or_else(|| panic!("series {labels:?} is lost, {} are there", found.len()));
        for (time_ms, bits) in points {
            assert_eq!(kept.get(time_ms), Some(bits), "sample of {labels:?} at {time_ms} is lost; {} are there", kept.len());
        }
    }
}

pub fn count(samples: &Samples) -> usize {
    samples.values().map(BTreeMap::len).sum()
}

/// All of both.
pub fn merge(into: &mut Samples, more: Samples) {
    more.into_iter().for_each(|(labels, points)| into.entry(labels).or_default().extend(points));
}

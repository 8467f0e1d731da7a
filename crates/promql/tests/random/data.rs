//! Random series: gauges, counters, classic and native histograms, info metrics; with resets, gaps, stale markers, NaN and
//! infinities, times on the edges of windows and beside them.

use crate::naive::{Point, Store, Value};
use crate::rng::Rng;
use model::histogram::{ResetHint, SCHEMA_CUSTOM, Span};
use model::value::STALE_NAN;
use model::{FloatHistogram, Labels};
use std::collections::BTreeMap;
use std::sync::Arc;

/// When the data ends, in milliseconds; a multiple of most steps.
pub const END: i64 = 1_700_000_400_000;
const INTERVAL: i64 = 15_000;

/// What a series is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Gauge,
    Special,
    Counter,
    Info,
    Exponential,
    Custom,
    GaugeHistogram,
    Mixed,
}

/// A store of some dozens of series, now and then of some hundreds.
pub fn store(rng: &mut Rng) -> Store {
    let mut made = Maker { store: Store::default(), rng: rng.clone(), samples: 10 + rng.below(50) };
    made.series("g", &["mode"], Kind::Gauge);
    made.series("free_bytes", &["mode", "path"], Kind::Gauge);
    made.series("special", &["mode"], Kind::Special);
    made.series("c_total", &["mode"], Kind::Counter);
    made.series("requests_total", &["path", "mode"], Kind::Counter);
    made.series("utf.8", &["label.dot"], Kind::Gauge);
    made.series("nh", &["path"], Kind::Exponential);
    made.series("nh_gauge", &["path"], Kind::GaugeHistogram);
    made.series("nhcb", &["path"], Kind::Custom);
    made.series("mixed", &["mode"], Kind::Mixed);
    made.series("target_info", &["version"], Kind::Info);
    made.series("build_info", &["version", "rev"], Kind::Info);
    made.classic();
    if rng.chance(0.1) {
        made.samples = 8;
        made.wide();
    }
    *rng = made.rng;
    made.store
}

struct Maker {
    store: Store,
    rng: Rng,
    /// For each series.
    samples: usize,
}

impl Maker {
    fn series(&mut self, name: &str, own: &[&str], kind: Kind) {
        for instance in ["a:1", "a:2", "b:10"] {
            for variant in 0..1 + self.rng.below(3) {
                let value = format!("v{variant}");
                let mut labels = vec![("__name__", name), ("instance", instance), ("job", if instance == "b:10" { "db" } else { "api" })];
                labels.extend(own.iter().take(1 + variant.min(1)).map(|label| (*label, value.as_str())));
                if self.rng.chance(0.05) {
                    labels.push(("__type__", "counter"));
                }
                if self.rng.chance(0.9) {
                    self.add(&labels, kind);
                }
            }
        }
    }

    fn wide(&mut self) {
        for i in 0..160 {
            let (n, group) = (i.to_string(), (i % 7).to_string());
            let name = if i % 2 == 0 { "g" } else { "c_total" };
            let kind = if i % 2 == 0 { Kind::Gauge } else { Kind::Counter };
            self.add(&[("__name__", name), ("n", &n), ("mode", &group), ("instance", "w"), ("job", "wide")], kind);
        }
    }

    /// Times from some hours of samples on to the end, on a grid of its own, with gaps.
    fn times(&mut self) -> Vec<i64> {
        let shift = [0, 0, 0, 1, 7_687, 14_999][self.rng.below(6)];
        let jitter = if self.rng.chance(0.2) { 900 } else { 0 };
        let begin = END - INTERVAL * self.samples as i64;
        let gap = self.rng.below(3 * self.samples);
        let mut times: Vec<i64> = (0..self.samples).map(|i| begin + INTERVAL * i as i64 + shift).collect();
        if jitter > 0 {
            times.iter_mut().for_each(|t| *t += self.rng.below(jitter) as i64);
        }
        let mut i = 0;
        times.retain(|_| {
            i += 1;
            !(gap..gap + 8).contains(&i)
        });
        times
    }

    fn add(&mut self, labels: &[(&str, &str)], kind: Kind) {
        let times = self.times();
        let with_starts = self.rng.chance(0.25);
        let mut values = Values::new(kind, &mut self.rng);
        let mut points: Vec<Point> = Vec::new();
        for t in times {
            if self.rng.chance(0.04) {
                continue;
            }
            let stale = self.rng.chance(0.03);
            let value = if stale { Value::Float(STALE_NAN) } else { values.next(&mut self.rng) };
            let start = if with_starts { self.start(points.last(), values.began, t) } else { 0 };
            points.push(Point { t, start, value });
        }
        if !points.is_empty() {
            self.store.series.insert(Labels::from_pairs(labels.iter().copied()), Arc::new(points));
        }
    }

    /// When the counter began, mostly rightly.
    fn start(&mut self, previous: Option<&Point>, began: bool, t: i64) -> i64 {
        let (before, start) = previous.map_or((t - 20_000, 0), |point| (point.t, point.start));
        match self.rng.below(12) {
            0 => 0,
            1 => t,
            2 => before - 1_000,
            3 => before,
            _ if began || start == 0 => before + (t - before) / 2,
            _ => start,
        }
    }

    /// Buckets by `le`, now and then with counts that fall, or without the last bucket.
    fn classic(&mut self) {
        let bounds = ["0.1", "0.5", "1", "2.5", "+Inf"];
        for (instance, job) in [("a:1", "api"), ("b:10", "db")] {
            let mut counters: Vec<f64> = vec![0.0; bounds.len()];
            let times = self.times();
            let broken = self.rng.chance(0.3);
            let mut series: BTreeMap<String, Vec<Point>> = BTreeMap::new();
            for t in times {
                if self.rng.chance(0.05) {
                    counters.iter_mut().for_each(|count| *count = 0.0);
                }
                let mut more = 0.0;
                for (bound, count) in bounds.iter().zip(&mut counters) {
                    more += self.rng.below(4) as f64;
                    *count += more;
                    let value = if broken && self.rng.chance(0.1) { *count / 2.0 } else { *count };
                    series.entry((*bound).to_owned()).or_default().push(Point { t, start: 0, value: Value::Float(value) });
                }
                for (name, value) in [("count", counters[bounds.len() - 1]), ("sum", counters[1] * 1.25)] {
                    series.entry(name.to_owned()).or_default().push(Point { t, start: 0, value: Value::Float(value) });
                }
            }
            if self.rng.chance(0.1) {
                series.remove("+Inf");
            }
            for (what, points) in series {
                let labels = match what.as_str() {
                    "count" => Labels::from_pairs([("__name__", "lat_count"), ("instance", instance), ("job", job)]),
                    "sum" => Labels::from_pairs([("__name__", "lat_sum"), ("instance", instance), ("job", job)]),
                    le => Labels::from_pairs([("__name__", "lat_bucket"), ("instance", instance), ("job", job), ("le", le)]),
                };
                self.store.series.insert(labels, Arc::new(points));
            }
        }
        // A native histogram of the same name and labels as a classic one.
        if self.rng.chance(0.2) {
            self.add(&[("__name__", "lat_bucket"), ("instance", "a:1"), ("job", "api")], Kind::Exponential);
        }
    }
}

/// A series' values, one after the other.
struct Values {
    kind: Kind,
    float: f64,
    /// Does the counter begin anew with the last value?
    began: bool,
    whole: bool,
    layout: Layout,
    buckets: BTreeMap<i32, f64>,
    negative: BTreeMap<i32, f64>,
    zero: f64,
    sum: f64,
}

/// What a native histogram looks like beside its counts.
#[derive(Clone)]
struct Layout {
    schema: i32,
    threshold: f64,
    bounds: Arc<[f64]>,
    two_sided: bool,
}

impl Layout {
    fn random(kind: Kind, rng: &mut Rng) -> Self {
        let schema = if kind == Kind::Custom { SCHEMA_CUSTOM } else { [0, 0, 0, 1, 2, 3, -1, 5][rng.below(8)] };
        let bounds: &[f64] = match (kind, rng.below(4)) {
            (Kind::Custom, 0) => &[0.5, 1.0, 4.0],
            (Kind::Custom, 1) => &[-1.0, 1.0, 5.0, 10.0, 20.0],
            (Kind::Custom, _) => &[1.0, 2.0, 5.0, 10.0],
            _ => &[],
        };
        let threshold = if kind == Kind::Custom { 0.0 } else { [0.001, 0.001, 0.0, 0.25, 1.5][rng.below(5)] };
        Self { schema, threshold, bounds: bounds.into(), two_sided: kind != Kind::Custom && rng.chance(0.4) }
    }
}

impl Values {
    fn new(kind: Kind, rng: &mut Rng) -> Self {
        let float = if kind == Kind::Info { 1.0 } else { (rng.unit() * 400.0).round() / 4.0 };
        let layout = Layout::random(kind, rng);
        let (buckets, negative) = Default::default();
        Self { kind, float, began: true, whole: rng.chance(0.5), layout, buckets, negative, zero: 0.0, sum: 0.0 }
    }

    fn next(&mut self, rng: &mut Rng) -> Value {
        self.began = false;
        match self.kind {
            Kind::Info => Value::Float(1.0),
            Kind::Gauge => {
                let change = (rng.unit() - 0.5) * 40.0;
                self.float += if self.whole { change.round() } else { change };
                Value::Float(self.float)
            }
            Kind::Special => Value::Float(match rng.below(9) {
                0 => f64::NAN,
                1 => f64::INFINITY,
                2 => f64::NEG_INFINITY,
                3 => -0.0,
                4 => 0.0,
                5 => 1e308,
                _ => (rng.unit() - 0.5) * 3.0,
            }),
            Kind::Counter => {
                if rng.chance(0.06) {
                    self.float = 0.0;
                    self.began = true;
                }
                let more = rng.unit() * 20.0;
                self.float += if self.whole { more.round() } else { more };
                Value::Float(self.float)
            }
            Kind::Mixed => match rng.below(5) {
                0 | 1 => Value::Float((rng.unit() * 10.0).round()),
                2 => {
                    self.layout = Layout::random(if rng.chance(0.3) { Kind::Custom } else { Kind::Exponential }, rng);
                    self.buckets.clear();
                    self.negative.clear();
                    self.histogram(rng)
                }
                _ => self.histogram(rng),
            },
            Kind::Exponential | Kind::Custom | Kind::GaugeHistogram => self.histogram(rng),
        }
    }

    fn histogram(&mut self, rng: &mut Rng) -> Value {
        let custom = self.layout.schema == SCHEMA_CUSTOM;
        if rng.chance(0.06) {
            self.buckets.clear();
            self.negative.clear();
            (self.zero, self.sum, self.began) = (0.0, 0.0, true);
            if rng.chance(0.4) {
                self.layout = Layout::random(if custom { Kind::Custom } else { Kind::Exponential }, rng);
            }
        }
        let scale = if self.layout.schema > 0 { 1 << self.layout.schema } else { 1 };
        for _ in 0..rng.below(4) {
            let count = (1 + rng.below(5)) as f64;
            let index = if custom { rng.below(self.layout.bounds.len() + 1) as i32 } else { (rng.below(8) as i32 - 3) * scale };
            let side = if self.layout.two_sided && rng.chance(0.4) { &mut self.negative } else { &mut self.buckets };
            *side.entry(index).or_default() += count;
            self.sum += count * (rng.unit() * 4.0).round() / 2.0;
        }
        if !custom && rng.chance(0.3) {
            self.zero += 1.0;
        }
        if self.kind == Kind::GaugeHistogram && rng.chance(0.3) {
            self.buckets.values_mut().for_each(|count| *count = (*count / 2.0).ceil());
        }
        let (positive_spans, positive_counts) = spans(&self.buckets);
        let (negative_spans, negative_counts) = spans(&self.negative);
        let inside: f64 = positive_counts.iter().chain(&negative_counts).sum::<f64>() + self.zero;
        let nan = rng.chance(0.03);
        let reset_hint = match rng.below(14) {
            _ if self.kind == Kind::GaugeHistogram => ResetHint::Gauge,
            0 if self.began => ResetHint::Reset,
            1 => ResetHint::NoReset,
            2 if self.kind == Kind::Mixed => ResetHint::Gauge,
            3 => ResetHint::Reset,
            _ => ResetHint::Unknown,
        };
        Value::Histogram(Arc::new(FloatHistogram {
            reset_hint,
            schema: self.layout.schema,
            zero_threshold: self.layout.threshold,
            zero_count: if custom { 0.0 } else { self.zero },
            count: if nan && !custom {
                inside + 2.0
            } else if custom {
                inside - self.zero
            } else {
                inside
            },
            sum: if nan { f64::NAN } else { self.sum },
            positive_spans,
            negative_spans,
            positive_counts,
            negative_counts,
            custom_values: Arc::clone(&self.layout.bounds),
        }))
    }
}

/// Runs of buckets that follow each other.
fn spans(buckets: &BTreeMap<i32, f64>) -> (Arc<[Span]>, Vec<f64>) {
    let mut spans: Vec<Span> = Vec::new();
    let mut next = 0;
    for index in buckets.keys() {
        match spans.last_mut() {
            Some(span) if *index == next => span.len += 1,
            _ => spans.push(Span { offset: *index - next, len: 1 }),
        }
        next = *index + 1;
    }
    (spans.into(), buckets.values().copied().collect())
}

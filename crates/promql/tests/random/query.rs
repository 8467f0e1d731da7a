//! Random queries of the whole language over the metrics of `data`, nearly all well-typed.

use crate::data::END;
use crate::rng::Rng;

const GAUGES: [&str; 5] = ["g", "free_bytes", "g", "special", "{\"utf.8\"}"];
const COUNTERS: [&str; 6] = ["c_total", "requests_total", "c_total", "lat_count", "lat_sum", "lat_bucket"];
const HISTOGRAMS: [&str; 5] = ["nh", "nh", "nhcb", "nh_gauge", "mixed"];
const LABELS: [&str; 8] = ["instance", "job", "mode", "path", "le", "nope", "version", "\"label.dot\""];
const DURATIONS: [&str; 9] = ["15s", "30s", "47s", "1m", "1m30s", "2m", "5m", "7m", "20m"];
const ARITHMETIC: [&str; 7] = ["+", "-", "*", "/", "%", "^", "atan2"];
const COMPARISONS: [&str; 6] = ["==", "!=", "<", ">", "<=", ">="];
const MATHS: [&str; 26] = [
    "abs",
    "ceil",
    "floor",
    "exp",
    "sqrt",
    "ln",
    "log2",
    "log10",
    "round",
    "sgn",
    "deg",
    "rad",
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
    "sinh",
    "cosh",
    "tanh",
    "asinh",
    "acosh",
    "atanh",
    "sort",
    "sort_desc",
];
const DATES: [&str; 8] = ["day_of_month", "day_of_week", "day_of_year", "days_in_month", "hour", "minute", "month", "year"];
const OVER_TIME: [&str; 16] = [
    "avg",
    "min",
    "max",
    "sum",
    "count",
    "stddev",
    "stdvar",
    "last",
    "present",
    "absent",
    "mad",
    "first",
    "ts_of_min",
    "ts_of_max",
    "ts_of_first",
    "ts_of_last",
];
const RATES: [&str; 8] = ["rate", "increase", "irate", "idelta", "delta", "deriv", "resets", "changes"];
const AGGREGATIONS: [&str; 8] = ["sum", "avg", "min", "max", "count", "group", "stddev", "stdvar"];

/// What kind of metric is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Want {
    Any,
    Gauge,
    Counter,
    Histogram,
}

/// A query's text and the times it is asked for.
#[derive(Clone, Debug)]
pub struct Query {
    pub text: String,
    pub start: i64,
    pub end: i64,
    pub step: i64,
}

/// The next random query.
pub fn query(rng: &mut Rng) -> Query {
    let mut generator = Generator { rng, nested: 0, earlier: Vec::new() };
    let depth = [1, 2, 2, 3, 3, 4][generator.rng.below(6)];
    let text = match generator.rng.below(20) {
        0 => generator.scalar(depth),
        1 | 2 => generator.root(depth),
        3..=6 if generator.rng.chance(0.5) => generator.histogram_function(depth),
        3..=6 => generator.histogram(depth),
        _ => generator.vector(depth),
    };
    let (start, end, step) = times(rng);
    Query { text, start, end, step }
}

fn times(rng: &mut Rng) -> (i64, i64, i64) {
    let mut end = END - [0, 0, 0, 15_000, 60_000, 120_000, 300_000, 7_687, -100_000][rng.below(9)];
    if rng.chance(0.2) {
        end += [1, -1, 500, 3_000][rng.below(4)];
    }
    let steps = [0, 1, 2, 4, 7, 12][rng.below(6)];
    let step = [5_000, 15_000, 15_000, 17_000, 30_000, 60_000, 97_000][rng.below(7)];
    // Now and then the last step is not the end.
    let rest = if rng.chance(0.2) { step / 3 } else { 0 };
    (end - steps * step, end + rest, step)
}

struct Generator<'r> {
    rng: &'r mut Rng,
    /// How many subqueries are open.
    nested: usize,
    /// Vectors that are in the query already.
    earlier: Vec<String>,
}

impl Generator<'_> {
    fn pick(&mut self, from: &[&'static str]) -> &'static str {
        self.rng.pick(from)
    }

    fn duration(&mut self) -> String {
        if self.rng.chance(0.92) {
            return self.pick(&DURATIONS).to_owned();
        }
        let expressions = [
            "step()*3",
            "(step()+1m)",
            "min_of(5m,2m)",
            "max_of(step(), 1m)",
            "(range()/2+10s)",
            "(-1m+3m)",
            "2^7",
            "300",
            "7m%4m",
            "1m/3",
        ];
        self.pick(&expressions).to_owned()
    }

    fn matchers(&mut self) -> Vec<String> {
        let all = [
            "instance=\"a:1\"",
            "instance!=\"a:1\"",
            "instance=~\"a:.*\"",
            "instance!~\"b.*\"",
            "job=\"api\"",
            "mode=\"v0\"",
            "mode!=\"v1\"",
            "mode=~\"v[01]\"",
            "path=\"v1\"",
            "path=\"\"",
            "mode=\"\"",
            "nope=\"\"",
            "nope=~\".*\"",
            "nope=\"x\"",
            "le!=\"1\"",
        ];
        (0..[0, 0, 0, 0, 1, 1, 2][self.rng.below(7)]).map(|_| self.pick(&all).to_owned()).collect()
    }

    fn metric(&mut self, want: Want) -> String {
        let name = match want {
            Want::Gauge => self.pick(&GAUGES),
            Want::Counter => self.pick(&COUNTERS),
            Want::Histogram => self.pick(&HISTOGRAMS),
            Want::Any => match self.rng.below(20) {
                0 => {
                    return self
                        .pick(&["{__name__=~\"g|c_total\"}", "{__name__=~\"nh.*\"}", "{job=\"db\"}", "{__name__=~\"free.*|requests.*\"}"])
                        .into();
                }
                1 => self.pick(&["target_info", "build_info", "absent_metric", "mixed"]),
                2..=5 => self.pick(&HISTOGRAMS),
                6..=11 => self.pick(&COUNTERS),
                _ => self.pick(&GAUGES),
            },
        };
        let matchers = self.matchers().join(",");
        match name.strip_suffix('}') {
            Some(open) if !matchers.is_empty() => format!("{open},{matchers}}}"),
            _ if matchers.is_empty() => name.to_owned(),
            _ => format!("{name}{{{matchers}}}"),
        }
    }

    fn modifiers(&mut self) -> String {
        let mut text = String::new();
        if self.rng.chance(0.1) {
            text = format!(" offset {}{}", self.pick(&["", "", "-"]), self.duration());
        }
        if self.rng.chance(0.08) {
            let when = match self.rng.below(4) {
                0 => "start()".to_owned(),
                1 => "end()".to_owned(),
                2 => format!("{}.5", END / 1000 - 77),
                _ => (END / 1000 - 10 * self.rng.below(60) as i64).to_string(),
            };
            text = if self.rng.chance(0.5) { format!("{text} @ {when}") } else { format!(" @ {when}{text}") };
        }
        text
    }

    fn selector(&mut self, want: Want) -> String {
        let smoothed = if self.rng.chance(0.03) { " smoothed" } else { "" };
        format!("{}{smoothed}{}", self.metric(want), self.modifiers())
    }

    /// A range selector or a subquery, for that function.
    fn matrix(&mut self, depth: usize, want: Want, function: &str) -> String {
        if depth > 0 && self.nested < 2 && self.rng.chance(0.22) {
            self.nested += 1;
            let inner = if want == Want::Histogram { self.histogram(depth - 1) } else { self.vector(depth - 1) };
            let (range, step) = if self.nested == 2 {
                (self.pick(&["1m", "90s"]).to_owned(), self.pick(&["20s", "30s", "17s"]))
            } else {
                (self.duration(), self.pick(&["", "15s", "20s", "30s", "1m", "17s", "100"]))
            };
            self.nested -= 1;
            return format!("({inner})[{range}:{step}]{}", self.modifiers());
        }
        let extended = match function {
            "rate" | "increase" | "delta" if self.rng.chance(0.2) => self.pick(&[" anchored", " smoothed"]),
            "resets" | "changes" if self.rng.chance(0.2) => self.pick(&[" anchored", " anchored", " anchored", " smoothed"]),
            _ if self.rng.chance(0.01) => self.pick(&[" anchored", " smoothed"]),
            _ => "",
        };
        format!("{}[{}]{extended}{}", self.metric(want), self.duration(), self.modifiers())
    }

    fn number(&mut self) -> &'static str {
        self.pick(&["0", "1", "2", "-1", "0.5", "1e3", "100", "0x1F", "Inf", "-Inf", "NaN", "3.7", "1e10", "42", "5m", ".5", "1e-9"])
    }

    fn scalar(&mut self, depth: usize) -> String {
        if depth == 0 || self.rng.chance(0.5) {
            return self.number().to_owned();
        }
        match self.rng.below(10) {
            0 | 1 => "time()".into(),
            2 => "pi()".into(),
            3 => self.pick(&["step()", "range()", "start()", "end()"]).into(),
            4 => format!("{}({}, {})", self.pick(&["max_of", "min_of"]), self.scalar(depth - 1), self.scalar(depth - 1)),
            5 | 6 => format!("scalar({})", self.vector(depth - 1)),
            7 => format!("-({})", self.scalar(depth - 1)),
            _ => {
                let op = if self.rng.chance(0.7) { self.pick(&ARITHMETIC).to_owned() } else { format!("{} bool", self.pick(&COMPARISONS)) };
                format!("(({}) {op} ({}))", self.scalar(depth - 1), self.scalar(depth - 1))
            }
        }
    }

    fn labels(&mut self) -> String {
        let n = [0, 1, 1, 2, 3][self.rng.below(5)];
        self.rng.some(&LABELS, n).join(", ")
    }

    fn aggregation(&mut self, op: &str, arguments: &str) -> String {
        if self.rng.chance(0.25) {
            return format!("{op}({arguments})");
        }
        let how = self.pick(&["by", "by", "without"]);
        format!("{op} {how} ({}) ({arguments})", self.labels())
    }

    fn matching(&mut self, op: &str) -> String {
        let set = ["and", "or", "unless"].contains(&op);
        let mut text = String::new();
        if COMPARISONS.contains(&op) && self.rng.chance(0.4) {
            text += " bool";
        }
        if self.rng.chance(0.55) {
            let how = self.pick(&["on", "on", "ignoring"]);
            text += &format!(" {how} ({})", self.labels());
            if !set && self.rng.chance(0.4) {
                let side = self.pick(&["group_left", "group_right"]);
                let include = if how == "on" || self.rng.chance(0.7) { "" } else { self.pick(&["version", "rev", "nope"]) };
                text += &format!(" {side} ({include})");
            }
        }
        if !set && self.rng.chance(0.1) {
            let v = self.pick(&["0", "1", "-5", "NaN", "Inf"]);
            text += &match self.rng.below(4) {
                0 => format!(" fill ({v})"),
                1 => format!(" fill_left ({v})"),
                2 => format!(" fill_right ({v})"),
                _ => format!(" fill_left ({v}) fill_right (7)"),
            };
        }
        text
    }

    fn binary(&mut self, depth: usize, want: Want) -> String {
        let depth = depth.saturating_sub(1);
        let side = |g: &mut Self| if want == Want::Histogram { g.histogram(depth) } else { g.vector(depth) };
        if self.rng.chance(0.35) {
            let op = if want == Want::Histogram {
                self.pick(&["*", "/", "</", ">/", "+", "=="])
            } else {
                self.pick(&[ARITHMETIC.as_slice(), &COMPARISONS, &["</"]].concat())
            };
            let bool = if COMPARISONS.contains(&op) && self.rng.chance(0.5) { " bool" } else { "" };
            let (v, s) = (side(self), self.scalar(depth));
            return if self.rng.chance(0.6) { format!("({v}) {op}{bool} ({s})") } else { format!("({s}) {op}{bool} ({v})") };
        }
        let op = match self.rng.below(10) {
            0..=2 => self.pick(&["and", "or", "unless"]),
            _ if want == Want::Histogram => self.pick(&["+", "-", "+", "-", "==", "!=", "*", ">"]),
            _ => self.pick(&[ARITHMETIC.as_slice(), &COMPARISONS].concat()),
        };
        let left = side(self);
        let right = if self.rng.chance(0.35) { left.clone() } else { side(self) };
        format!("({left}) {op}{} ({right})", self.matching(op))
    }

    fn histogram(&mut self, depth: usize) -> String {
        if depth == 0 {
            return self.selector(Want::Histogram);
        }
        match self.rng.below(40) {
            0..=8 => self.selector(Want::Histogram),
            9..=17 => {
                let f = self.pick(&["rate", "rate", "increase", "irate", "delta", "idelta", "resets", "changes"]);
                format!("{f}({})", self.matrix(depth - 1, Want::Histogram, f))
            }
            18..=21 => {
                let f = self.pick(&["sum", "avg", "last", "first", "count", "present"]);
                format!("{f}_over_time({})", self.matrix(depth - 1, Want::Histogram, ""))
            }
            22..=28 => {
                let op = self.pick(&["sum", "sum", "avg", "avg", "count", "group", "min"]);
                let inner = self.histogram(depth - 1);
                self.aggregation(op, &inner)
            }
            29..=35 => self.binary(depth, Want::Histogram),
            36 => format!("-({})", self.histogram(depth - 1)),
            37 => format!("label_replace({}, \"foo\", \"$1\", \"instance\", \"(.*):.*\")", self.histogram(depth - 1)),
            _ => self.vector(depth - 1),
        }
    }

    fn quantile(&mut self, depth: usize) -> String {
        if self.rng.chance(0.2) {
            self.scalar(depth)
        } else {
            self.pick(&["0.5", "0.9", "0.99", "0", "1", "-1", "2", "NaN", "0.25"]).into()
        }
    }

    fn histogram_function(&mut self, depth: usize) -> String {
        let depth = depth.saturating_sub(1);
        let h = match self.rng.below(10) {
            0 => self.vector(depth),
            1 | 2 => self.classic(),
            _ => self.histogram(depth),
        };
        match self.rng.below(20) {
            0..=6 => format!("histogram_{}({h})", self.pick(&["count", "sum", "avg", "stddev", "stdvar"])),
            7..=10 => {
                let (from, to) = (self.pick(&["0", "-Inf", "0.1", "-1", "1", "NaN"]), self.pick(&["0.2", "1", "+Inf", "10", "0", "NaN"]));
                format!("histogram_fraction({from}, {to}, {h})")
            }
            11..=15 => format!("histogram_quantile({}, {h})", self.quantile(depth)),
            _ => {
                let label = self.pick(&["q", "quantile", "le"]);
                format!("histogram_quantiles({h}, \"{label}\", {}, 0.5)", self.pick(&["0.9", "0", "1", "-1", "0.25"]))
            }
        }
    }

    fn classic(&mut self) -> String {
        let expressions = [
            "rate(lat_bucket[2m])",
            "lat_bucket",
            "sum by (le) (lat_bucket)",
            "sum by (le, job) (rate(lat_bucket[5m]))",
            "increase(lat_bucket[1m])",
        ];
        self.pick(&expressions).to_owned()
    }

    fn over_time(&mut self, depth: usize) -> String {
        let inner = depth - 1;
        match self.rng.below(10) {
            0 => format!("quantile_over_time({}, {})", self.quantile(inner), self.matrix(inner, Want::Any, "")),
            1 => format!("predict_linear({}, {})", self.matrix(inner, Want::Gauge, ""), self.scalar(inner)),
            2 => {
                let (sf, tf) = (self.pick(&["0.1", "0.5", "0.9", "0.5", "1", "0"]), self.pick(&["0.1", "0.5", "0.9", "0.3", "1.5"]));
                format!("double_exponential_smoothing({}, {sf}, {tf})", self.matrix(inner, Want::Gauge, ""))
            }
            _ => format!("{}_over_time({})", self.pick(&OVER_TIME), self.matrix(inner, Want::Any, "")),
        }
    }

    fn aggregate(&mut self, depth: usize) -> String {
        let inner = self.vector(depth - 1);
        match self.rng.below(24) {
            0 => {
                let (op, k) = (self.pick(&["topk", "bottomk"]), self.pick(&["1", "2", "0", "1.9", "-1"]));
                let sorted = self.pick(&["c_total", "rate(requests_total[2m])", "lat_sum"]);
                self.aggregation(op, &format!("{k}, {sorted}"))
            }
            1 | 2 => {
                let q = self.quantile(depth - 1);
                self.aggregation("quantile", &format!("{q}, {inner}"))
            }
            3 => {
                let label = self.pick(&["\"v\"", "\"instance\"", "\"mode\"", "\"label.dot\""]);
                self.aggregation("count_values", &format!("{label}, {inner}"))
            }
            4 => {
                let ratio = self.pick(&["0", "1", "-1", "0.5", "-0.3", "1.5", "-2"]);
                self.aggregation("limit_ratio", &format!("{ratio}, {inner}"))
            }
            5 => {
                let k = self.pick(&["1", "2", "100", "0", "-3"]);
                format!("count({})", self.aggregation("limitk", &format!("{k}, {inner}")))
            }
            _ => {
                let op = self.pick(&AGGREGATIONS);
                self.aggregation(op, &inner)
            }
        }
    }

    fn relabel(&mut self, depth: usize) -> String {
        let inner = self.vector(depth - 1);
        if self.rng.chance(0.6) {
            let to = self.pick(&["instance", "foo", "mode", "label.dot", "__name__", ""]);
            let with = self.pick(&["$1", "x-$1-$2", "", "v", "${1}y"]);
            let from = self.pick(&["instance", "mode", "nope", "path", "__name__"]);
            let pattern = self.pick(&[".*", "(.*):(.*)", "(.+)", "v(.*)", "^a(.*)$", "nomatch", "("]);
            return format!("label_replace({inner}, \"{to}\", \"{with}\", \"{from}\", \"{pattern}\")");
        }
        let (to, separator) = (self.pick(&["foo", "instance", "__name__"]), self.pick(&["-", "", ","]));
        let n = self.rng.below(3);
        let sources: String = self.rng.some(&["instance", "mode", "job", "path"], n).iter().map(|l| format!(", \"{l}\"")).collect();
        format!("label_join({inner}, \"{to}\", \"{separator}\"{sources})")
    }

    /// Now and then one that is in the query already, so that the engine has something to share.
    fn vector(&mut self, depth: usize) -> String {
        if self.rng.chance(0.12)
            && let Some(again) = self.again()
        {
            return again;
        }
        let text = self.new_vector(depth);
        self.earlier.push(text.clone());
        text
    }

    /// A vector of the query, perhaps in another layout. In a subquery none that has one itself, as that would take long.
    fn again(&mut self) -> Option<String> {
        let at = self.rng.below(self.earlier.len().max(1));
        let text = self.earlier.get(at).filter(|text| text.len() < 200 && (self.nested == 0 || !text.contains(':')))?;
        Some(match self.rng.below(4) {
            0 => format!("( {text})"),
            1 => text.replace('(', "(  "),
            _ => text.clone(),
        })
    }

    fn new_vector(&mut self, depth: usize) -> String {
        if depth == 0 {
            return self.selector(Want::Any);
        }
        let inner = depth - 1;
        match self.rng.below(100) {
            0..=9 => self.selector(Want::Any),
            10..=20 => {
                let f = self.pick(&RATES);
                let want = if self.rng.chance(0.6) { Want::Counter } else { Want::Any };
                format!("{f}({})", self.matrix(inner, want, f))
            }
            21..=34 => self.over_time(depth),
            35..=51 => self.aggregate(depth),
            52..=57 => format!("{}({})", self.pick(&MATHS), self.vector(inner)),
            58..=61 => match self.rng.below(4) {
                0 => format!("clamp({}, {}, {})", self.vector(inner), self.number(), self.number()),
                1 => format!("clamp_min({}, {})", self.vector(inner), self.scalar(inner)),
                2 => format!("clamp_max({}, {})", self.vector(inner), self.scalar(inner)),
                _ => format!("round({}, {})", self.vector(inner), self.pick(&["1", "0.1", "10", "0.25", "-2", "0"])),
            },
            62..=66 => match self.rng.below(6) {
                0 => format!("vector({})", self.scalar(inner)),
                1 | 2 => format!("timestamp({})", self.vector(inner)),
                3 => format!("start_timestamp({})", self.vector(inner)),
                4 => format!("absent({})", self.vector(inner)),
                _ => {
                    let argument = self.pick(&["", "vector(time())", "timestamp(g)", "c_total * 86400"]);
                    format!("{}({argument})", self.pick(&DATES))
                }
            },
            67..=71 => self.relabel(depth),
            72..=76 => self.histogram_function(depth),
            77..=80 => self.histogram(depth),
            81..=83 => format!("-({})", self.vector(inner)),
            84..=86 => {
                let labels = [
                    "",
                    "",
                    ", {version=~\".+\"}",
                    ", {__name__=\"build_info\"}",
                    ", {__name__=~\".*_info\"}",
                    ", {rev!=\"zz\"}",
                    ", {nope=~\".*\"}",
                    ", {version=\"v0\"}",
                    ", {__name__!=\"build_info\"}",
                ];
                let what = if self.rng.chance(0.5) { self.selector(Want::Gauge) } else { self.vector(inner) };
                format!("info({what}{})", self.pick(&labels))
            }
            _ => self.binary(depth, Want::Any),
        }
    }

    /// What makes most sense at the top: results whose order counts, or that are no instant vectors.
    fn root(&mut self, depth: usize) -> String {
        let inner = self.vector(depth - 1);
        match self.rng.below(10) {
            0..=2 => {
                let (op, k) =
                    (self.pick(&["topk", "bottomk"]), self.pick(&["1", "2", "3", "5", "NaN", "1e30", "scalar(c_total)", "(time() % 4)"]));
                self.aggregation(op, &format!("{k}, {inner}"))
            }
            3 => {
                let k = self.pick(&["1", "2", "3", "100"]);
                self.aggregation("limitk", &format!("{k}, {inner}"))
            }
            4 | 5 => format!("{}({inner})", self.pick(&["sort", "sort_desc"])),
            6 => format!("{}({inner}, \"instance\", \"job\")", self.pick(&["sort_by_label", "sort_by_label_desc"])),
            7 | 8 => self.matrix(depth, Want::Any, ""),
            _ => "\"a string\"".into(),
        }
    }
}

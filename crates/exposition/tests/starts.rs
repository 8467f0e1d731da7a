//! Start timestamps from `_created` lines: which samples get which, and what is no sample then.
#![allow(clippy::unwrap_used, reason = "tests")]

use exposition::{Entry, Format, Parser, Starts};
use proptest::prelude::*;

/// Samples with their starts, in short.
fn read(page: &[u8], format: Format) -> Vec<String> {
    let mut parser = Parser::new(page, format);
    let mut starts = Starts::new(format);
    let mut out = Vec::new();
    while let Some(entry) = parser.next().unwrap() {
        match &entry {
            Entry::Sample(sample) => {
                if starts.as_ref().is_some_and(|starts| starts.is_created(sample)) {
                    continue;
                }
                let start = starts.as_mut().map_or(0, |starts| starts.start(sample, &parser).0);
                out.push(format!("{} {start}", std::str::from_utf8(sample.series).unwrap()));
            }
            metadata => {
                if let Some(starts) = &mut starts {
                    starts.metadata(metadata);
                }
            }
        }
    }
    out
}

#[track_caller]
fn check(lines: &str, want: &[&str]) {
    assert_eq!(read(format!("{lines}\n# EOF\n").as_bytes(), Format::OpenMetrics), want, "{lines}");
}

#[test]
fn each_type_with_a_start() {
    check("# TYPE a counter\na_total 5\na_created 1.5", &["a_total 1500"]);
    check(
        "# TYPE h histogram\nh_bucket{x=\"1\",le=\"1.0\"} 1\nh_bucket{x=\"1\",le=\"+Inf\"} 2\nh_count{x=\"1\"} 2\nh_sum{x=\"1\"} 2\nh_created{x=\"1\"} 7",
        &["h_bucket{x=\"1\",le=\"1.0\"} 7000", "h_bucket{x=\"1\",le=\"+Inf\"} 7000", "h_count{x=\"1\"} 7000", "h_sum{x=\"1\"} 7000"],
    );
    check(
        "# TYPE s summary\ns{quantile=\"0.5\"} 1\ns_count 2\ns_created 7\ns_sum 2",
        &["s{quantile=\"0.5\"} 7000", "s_count 7000", "s_sum 7000"],
    );
}

#[test]
fn other_types_have_none_and_keep_their_lines() {
    for kind in ["gauge", "gaugehistogram", "info", "stateset", "unknown"] {
        check(&format!("# TYPE a {kind}\na_total 5\na_created 1.5"), &["a_total 0", "a_created 0"]);
    }
    check("a_total 5\na_created 1.5", &["a_total 0", "a_created 0"]);
    let text = b"# TYPE a counter\na_total 5\na_created 1.5\n";
    assert_eq!(read(text, Format::PrometheusText), ["a_total 0", "a_created 0"]);
}

#[test]
fn labels_have_to_be_the_same_in_the_same_order() {
    check(
        "# TYPE a counter\na_total{x=\"1\",y=\"2\"} 5\na_created{x=\"1\",y=\"2\"} 1\na_total{x=\"3\"} 5\na_created{x=\"3\",} 2",
        &["a_total{x=\"1\",y=\"2\"} 1000", "a_total{x=\"3\"} 2000"],
    );
    check("# TYPE a counter\na_total{x=\"1\",y=\"2\"} 5\na_created{y=\"2\",x=\"1\"} 1", &["a_total{x=\"1\",y=\"2\"} 0"]);
    check("# TYPE a counter\na_total{x=\"1\"} 5\na_created 1", &["a_total{x=\"1\"} 0"]);
    check("# TYPE a counter\na_total 5\na_created{x=\"1\"} 1", &["a_total 0"]);
    // `le` is a label like any other where there are no buckets.
    check("# TYPE a counter\na_total{le=\"1\"} 5\na_created 1", &["a_total{le=\"1\"} 0"]);
    check("# TYPE a summary\na_sum{le=\"1\"} 5\na_created 1", &["a_sum{le=\"1\"} 0"]);
}

#[test]
fn the_line_may_stand_among_the_samples_but_not_before() {
    check(
        "# TYPE h histogram\nh_count 1\nh_created 3\nh_sum 1\nh_bucket{le=\"+Inf\"} 1\nh_count{x=\"1\"} 1\nh_created{x=\"1\"} 4\nh_sum{x=\"1\"} 1",
        &["h_count 3000", "h_sum 3000", "h_bucket{le=\"+Inf\"} 3000", "h_count{x=\"1\"} 4000", "h_sum{x=\"1\"} 4000"],
    );
    check("# TYPE a counter\na_created 1\na_total 5", &["a_total 0"]);
    // The next such line decides, not a later one.
    check(
        "# TYPE a counter\na_total{x=\"1\"} 5\na_total{x=\"2\"} 5\na_created{x=\"1\"} 1\na_created{x=\"2\"} 2",
        &["a_total{x=\"1\"} 1000", "a_total{x=\"2\"} 0"],
    );
}

#[test]
fn the_family_is_that_of_the_last_metadata_line() {
    check("# TYPE a counter\na_total 5\n# HELP b x\nb_total 1\nb_created 3", &["a_total 0", "b_total 3000"]);
    check("# TYPE a counter\n# UNIT a \na_total 5\na_created 3", &["a_total 3000"]);
    check("# TYPE a counter\nb_total 5\nb_created 3", &["b_total 3000"]);
    check("# TYPE aa counter\nb_total 5\nb_created 3", &["b_total 0"]);
    check("# TYPE long counter\nb 5\nb_created 3", &["b 0"]);
    check("# TYPE a_created gauge\na_created 3", &["a_created 0"]);
    check("# TYPE a counter\na_total 5\n# TYPE b counter\na_created 3\nb_total 1", &["a_total 0", "b_total 0"]);
}

#[test]
fn quoted_names() {
    check(
        "# TYPE \"a.b\" counter\n{\"a.b_total\",\"x.y\"=\"1\"} 5\n{\"a.b_created\",\"x.y\"=\"1\"} 1.25\n{x=\"2\",\"a.b_total\"} 1\n{\"a.b_created\",x=\"2\"} 2",
        &["{\"a.b_total\",\"x.y\"=\"1\"} 1250", "{x=\"2\",\"a.b_total\"} 2000"],
    );
}

#[test]
fn starts_that_make_no_sense() {
    check("# TYPE a counter\na_total 5\na_created 0", &["a_total 0"]);
    check("# TYPE a counter\na_total 5\na_created -1", &["a_total -1000"]);
    // Such a start is not remembered for what follows it.
    check("# TYPE h histogram\nh_count 1\nh_created -1\nh_sum 1", &["h_count -1000", "h_sum 0"]);
    // A label that only looks like the line.
    check(
        "# TYPE a counter\na_total{x=\"a_created\"} 5\na_total{x=\"a_created 3\"} 5",
        &["a_total{x=\"a_created\"} 0", "a_total{x=\"a_created 3\"} 0"],
    );
}

#[test]
fn a_page_that_breaks_off_is_refused_by_the_parser_not_here() {
    let page = b"# TYPE a counter\na_total 5\na_created x\n";
    let mut parser = Parser::new(page, Format::OpenMetrics);
    let mut starts = Starts::new(Format::OpenMetrics).unwrap();
    starts.metadata(&parser.next().unwrap().unwrap());
    let Some(Entry::Sample(sample)) = parser.next().unwrap() else { panic!("no sample") };
    assert_eq!(starts.start(&sample, &parser).0, 0);
    assert!(parser.next().is_err());
}

/// One metric: its label, how many samples, where among them its `_created` stands, and what it says.
type Metric = (u8, usize, Option<(usize, i64)>);

/// For each sample as Prometheus goes about it: through the rest of the family, anew each time.
fn twin(families: &[Vec<Metric>]) -> Vec<i64> {
    let mut out = Vec::new();
    for metrics in families {
        let mut lines = Vec::new();
        for (label, samples, created) in metrics {
            for nth in 0..=*samples {
                if let Some((at, start)) = created
                    && *at == nth
                {
                    lines.push((*label, Some(*start)));
                }
                if nth < *samples {
                    lines.push((*label, None));
                }
            }
        }
        let mut remembered = None;
        for (at, (label, _)) in lines.iter().enumerate().filter(|(_, (_, created))| created.is_none()) {
            if remembered.is_none_or(|(known, _)| known != label) {
                let next = lines[at..].iter().find_map(|(of, created)| created.map(|start| (of, start)));
                remembered = next.filter(|(of, _)| *of == label);
            }
            out.push(remembered.map_or(0, |(_, start)| start * 1000));
        }
    }
    out
}

proptest! {
    #[test]
    fn as_prometheus_finds_them(families in prop::collection::vec(
        prop::collection::vec((0u8..3, 0usize..4, prop::option::of((0usize..4, 1i64..100))), 0..5), 1..4
    )) {
        let mut page = String::new();
        for (family, metrics) in families.iter().enumerate() {
            page += &format!("# TYPE m{family} histogram\n");
            for (label, samples, created) in metrics {
                for nth in 0..=*samples {
                    if let Some((at, start)) = created && *at == nth {
                        page += &format!("m{family}_created{{x=\"{label}\"}} {start}\n");
                    }
                    if nth < *samples {
                        page += &format!("m{family}_bucket{{x=\"{label}\",le=\"{nth}\"}} 1\n");
                    }
                }
            }
        }
        page += "# EOF\n";
        let got: Vec<i64> = read(page.as_bytes(), Format::OpenMetrics)
            .iter().map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
        prop_assert_eq!(got, twin(&families), "{}", page);
    }
}

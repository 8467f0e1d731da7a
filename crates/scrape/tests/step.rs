//! The step of one scrape: what a page makes the store hold.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::Store;
use model::{Labels, Millis, Timestamp};
use scrape::labels::Rules;
use scrape::state::{Outcome, Page, ScrapeState, Settings, Times, Workspace};

struct Target {
    store: Store,
    state: ScrapeState,
    settings: Settings,
    work: Workspace,
    time: i64,
}

fn settings() -> Settings {
    Settings {
        target: Labels::from_pairs([("job", "j"), ("instance", "i")]),
        honor_timestamps: true,
        timeout: Millis(10_000),
        ..Settings::default()
    }
}

impl Target {
    fn new(settings: Settings) -> Self {
        let state = ScrapeState::new(7, Arc::default());
        Self { store: Store::default(), state, settings, work: Workspace::default(), time: 0 }
    }

    fn page(&mut self, page: Page<'_>) -> Outcome {
        self.time += 1000;
        let times = Times { sample: Timestamp(self.time), now: Timestamp(self.time) };
        self.state.scrape(&self.settings, page, times, || Duration::from_millis(250), &self.store, &mut self.work)
    }

    fn text(&mut self, body: &str) -> Outcome {
        self.page(Page::Body { bytes: body.as_bytes(), content_type: Some("text/plain") })
    }

    #[track_caller]
    fn holds(&self, want: &[&str]) {
        assert_eq!(self.store.newest(), want);
    }

    /// up, scraped, post relabelling, series added.
    #[track_caller]
    fn reports(&self, up: u8, scraped: u64, post: u64, added: u64) {
        let names = ["up", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling", "scrape_series_added"];
        assert_eq!(names.map(|name| self.store.report(name)), [f64::from(up), scraped as f64, post as f64, added as f64]);
    }
}

#[test]
fn one_commit_a_scrape_with_its_report() {
    let mut target = Target::new(settings());
    let outcome = target.text("# TYPE a counter\na{x=\"1\"} 1\na{x=\"2\"} 2\n");
    assert_eq!((outcome.scraped, outcome.post_relabelling, outcome.series_added), (2, 2, 2));
    target.holds(&["a{x=1} 1@1000", "a{x=2} 2@1000"]);
    target.reports(1, 2, 2, 2);
    assert_eq!(target.store.report("scrape_duration_seconds"), 0.25);
    assert_eq!(target.store.report("scrape_timeout_seconds"), f64::INFINITY);
    target.text("a{x=\"1\"} 3\na{x=\"2\"} 2\n");
    target.holds(&["a{x=1} 3@2000", "a{x=2} 2@2000"]);
    target.reports(1, 2, 2, 0);
    assert_eq!(target.store.state().commits, 2);
    assert_eq!(target.state.cached_len(), 2);
}

#[test]
fn extra_metrics() {
    let mut target = Target::new(Settings { extra_metrics: true, sample_limit: 9, ..settings() });
    target.text("a 1\n");
    let extra = |t: &Target| ["scrape_timeout_seconds", "scrape_sample_limit", "scrape_body_size_bytes"].map(|name| t.store.report(name));
    assert_eq!(extra(&target), [10.0, 9.0, 4.0]);
    target.page(Page::Failed { body_size: -1 });
    assert_eq!(extra(&target), [10.0, 9.0, -1.0]);
    target.reports(0, 0, 0, 0);
}

#[test]
fn vanished_series_become_stale_and_come_back() {
    let mut target = Target::new(settings());
    target.text("a 1\nb 2\nc 3\n");
    target.text("a 1\nc 3\n");
    target.holds(&["a 1@2000", "b stale@2000", "c 3@2000"]);
    target.text("c 3\nb 5\na 1\n");
    target.holds(&["a 1@3000", "b 5@3000", "c 3@3000"]);
    target.reports(1, 3, 3, 1);
}

/// While it replays its log a store takes batches without telling handles.
#[test]
fn vanished_series_become_stale_though_nobody_told_their_handles() {
    let mut target = Target::new(settings());
    target.store.state().silent = true;
    target.text("a 1\nb 2\nc 3\n");
    target.text("c 3\na 1\n");
    target.holds(&["a 1@2000", "b stale@2000", "c 3@2000"]);
    target.store.state().silent = false;
    target.text("a 1\n");
    target.holds(&["a 1@3000", "b stale@2000", "c stale@3000"]);
    target.text("");
    target.holds(&["a stale@4000", "b stale@2000", "c stale@3000"]);
    assert_eq!(target.state.cached_len(), 1);
    // A failed request, and the end of the target.
    let mut target = Target::new(settings());
    target.store.state().silent = true;
    target.text("a 1\n");
    target.page(Page::Failed { body_size: 0 });
    target.holds(&["a stale@2000"]);
    target.text("a 1\n");
    target.store.state().silent = false;
    target.state.end(Timestamp(4000), &target.store, &mut target.work);
    target.holds(&["a stale@4000"]);
    assert!(model::value::is_stale(target.store.report("up")));
}

#[test]
fn a_failed_request_marks_all_and_is_not_forgotten() {
    let mut target = Target::new(settings());
    target.text("a 1\nb 2\n");
    target.page(Page::Failed { body_size: 0 });
    target.holds(&["a stale@2000", "b stale@2000"]);
    target.page(Page::Failed { body_size: 0 });
    target.holds(&["a stale@2000", "b stale@2000"]);
    target.text("a 1\nb 2\n");
    target.holds(&["a 1@4000", "b 2@4000"]);
    target.reports(1, 2, 2, 0);
}

#[test]
fn an_empty_page_is_good_whatever_its_type() {
    let mut target = Target::new(settings());
    target.text("a 1\n");
    target.page(Page::Body { bytes: b"", content_type: Some("image/png") });
    target.holds(&["a stale@2000"]);
    target.reports(1, 0, 0, 0);
}

#[test]
fn a_page_that_fails_on_the_way_spares_what_it_had() {
    let mut target = Target::new(settings());
    target.text("a 1\nb 2\nc 3\n");
    let outcome = target.text("a 5\nnew 1\n!bad\nb 2\n");
    assert!(outcome.error.is_some());
    target.holds(&["a 1@1000", "b stale@2000", "c stale@2000"]);
    target.reports(0, 2, 2, 1);
    // `new` was seen, though not stored: it does not count as added again.
    target.text("a 5\nnew 1\n");
    target.holds(&["a 5@3000", "b stale@2000", "c stale@2000", "new 1@3000"]);
    target.reports(1, 2, 2, 0);
    target.text("a 5\n");
    target.holds(&["a 5@4000", "b stale@2000", "c stale@2000", "new stale@4000"]);
}

#[test]
fn an_unknown_type_marks_all() {
    let mut target = Target::new(settings());
    target.text("a 1\n");
    let outcome = target.page(Page::Body { bytes: b"a 1\n", content_type: Some("text/html") });
    assert!(outcome.error.unwrap().to_string().starts_with("received unsupported Content-Type \"text/html\""));
    target.holds(&["a stale@2000"]);
}

#[test]
fn repeated_lines_are_dropped_and_counted() {
    let mut target = Target::new(settings());
    let outcome = target.text("a 1\na 2\nb 1\na 1\n");
    assert_eq!((outcome.duplicate, outcome.series_added), (2, 2));
    target.holds(&["a 1@1000", "b 1@1000"]);
    target.reports(1, 4, 4, 2);
    // Spelt in two ways it is not noticed here, but by the store.
    let outcome = target.text("c{x=\"1\",y=\"2\"} 1\nc{y=\"2\",x=\"1\"} 2\n");
    assert_eq!((outcome.duplicate, outcome.series_added), (0, 2));
}

#[test]
fn sample_limit() {
    let mut target = Target::new(Settings { sample_limit: 2, ..settings() });
    target.text("a 1\nb 2\nb 3\n");
    target.reports(1, 3, 3, 2);
    let outcome = target.text("a 1\nb 2\nc 3\nd 4\n");
    assert_eq!(outcome.error.unwrap().to_string(), "sample limit exceeded");
    target.reports(0, 4, 4, 0);
    target.holds(&["a 1@1000", "b 2@1000"]);
    target.text("x 1\ny 2\nb 3\n");
    target.reports(0, 3, 3, 2);
    target.holds(&["a stale@3000", "b stale@3000"]);
}

#[test]
fn own_timestamps() {
    let page = "a 1 500\nb 2\n";
    let mut target = Target::new(settings());
    target.text(page);
    target.holds(&["a 1@500", "b 2@1000"]);
    target.text("c 1\n");
    target.holds(&["a 1@500", "b stale@2000", "c 1@2000"]);

    let mut target = Target::new(Settings { honor_timestamps: false, ..settings() });
    target.text(page);
    target.holds(&["a 1@1000", "b 2@1000"]);

    let mut target = Target::new(Settings { track_timestamps_staleness: true, ..settings() });
    target.text(page);
    target.text("c 1\n");
    target.holds(&["a stale@2000", "b stale@2000", "c 1@2000"]);

    let outcome = target.text("c 1 1\nahead 1 603001\nwithin 1 603000\n");
    assert_eq!((outcome.out_of_order, outcome.out_of_bounds), (1, 1));
    target.reports(1, 3, 3, 1);
}

#[test]
fn relabelling_drops_and_renames() {
    let rule = |spec| relabel::Rule::new(spec, relabel::NameScheme::Utf8).unwrap();
    let drop = rule(relabel::RuleSpec {
        source_labels: Some(vec!["__name__".into()]),
        regex: Some("drop.*".into()),
        action: Some("drop".into()),
        ..relabel::RuleSpec::default()
    });
    let mut target = Target::new(Settings { rules: Rules { relabel: vec![drop], ..Rules::default() }, ..settings() });
    for time in [1000, 2000] {
        target.text("drop_a 1\nb 2\ndrop_c 3\ndrop_c 3\n");
        assert_eq!(target.store.newest(), [format!("b 2@{time}")]);
    }
    target.reports(1, 4, 1, 0);
}

#[test]
fn a_series_that_the_store_forgot_is_made_again() {
    let mut target = Target::new(settings());
    target.text("a 1\nb 2\nc 3\n");
    for name in ["b", "up"] {
        for series in &mut target.store.state().series {
            series.take_if(|series| series.0.metric_name() == name);
        }
    }
    let outcome = target.text("a 4\nb 5 1999\nc 6\n");
    assert_eq!(outcome.series_added, 0);
    target.holds(&["a 4@2000", "b 5@1999", "c 6@2000"]);
    target.reports(1, 3, 3, 0);
    assert_eq!(target.store.state().commits, 3);
    target.text("a 4\n");
    target.holds(&["a 4@3000", "b 5@1999", "c stale@3000"]);
    assert_eq!(target.store.state().commits, 4);
}

#[test]
fn a_store_that_is_not_ready_costs_one_scrape() {
    let mut target = Target::new(settings());
    target.store.state().refuse = true;
    assert!(target.text("a 1\n").commit_error.is_some());
    target.store.state().refuse = false;
    target.text("a 1\n");
    target.holds(&["a 1@2000"]);
}

#[test]
fn the_end_of_a_target_ends_its_series_but_not_newer_ones() {
    let mut target = Target::new(settings());
    target.text("a 1\nb 2\n");
    // It has come back meanwhile, with `a` only.
    let mut again = ScrapeState::new(8, Arc::default());
    let times = Times { sample: Timestamp(2000), now: Timestamp(2000) };
    let page = Page::Body { bytes: b"a 7\n", content_type: Some("text/plain") };
    again.scrape(&target.settings, page, times, || Duration::ZERO, &target.store, &mut target.work);
    target.state.end(Timestamp(2000), &target.store, &mut target.work);
    target.holds(&["a 7@2000", "b stale@2000"]);
    assert_eq!(target.store.report("up"), 1.0);
    target.state.end(Timestamp(3000), &target.store, &mut target.work);
    assert!(target.store.report("up").is_nan());
}

#[test]
fn exemplars_get_the_samples_time() {
    let mut target = Target::new(settings());
    let body = "# TYPE a counter\na_total 1 # {t=\"x\"} 0.5\nb_total 2 # {t=\"y\"} 0.7 12.5\n# EOF\n";
    let outcome = target.page(Page::Body { bytes: body.as_bytes(), content_type: Some("application/openmetrics-text") });
    assert_eq!(outcome.error, None);
    assert_eq!(target.store.state().exemplars, [r#"{t="x"} 0.5 1000"#, r#"{t="y"} 0.7 12500"#]);
}

#[test]
fn created_lines_are_start_timestamps_where_they_are_asked_for() {
    const TEXT: Option<&str> = Some("text/plain");
    let page = "# TYPE a counter\na_total{x=\"1\"} 5\na_created{x=\"1\"} 1.5\n# TYPE h histogram\nh_bucket{le=\"+Inf\"} 2\nh_count 2\nh_created 0.25\n# TYPE g gauge\ng 1\ng_created 3\n# EOF\n";
    let with = ["a_total 1500", "h_bucket 250", "h_count 250"];
    // Asked for, content type, samples counted, starts.
    for (asked, content_type, scraped, starts) in
        [(true, OPEN_METRICS, 5, &with[..]), (false, OPEN_METRICS, 7, &[]), (true, TEXT, 7, &[]), (false, TEXT, 7, &[])]
    {
        let mut target = Target::new(Settings { start_timestamps: asked, ..settings() });
        // The second time all lines are known, the third time the store has forgotten all.
        for time in [1000, 2000, 3000] {
            if time == 3000 {
                target.store.forget();
            }
            let outcome = target.page(Page::Body { bytes: page.as_bytes(), content_type });
            assert_eq!((&outcome.error, outcome.scraped, outcome.post_relabelling), (&None, scraped, scraped), "{asked} {content_type:?}");
            let want: Vec<String> = starts.iter().map(|start| format!("{start}@{time}")).collect();
            assert_eq!(target.store.state().starts, want, "{asked} {content_type:?}");
        }
        assert_eq!(target.store.newest().len() as u64, scraped, "{:?}", target.store.newest());
    }
}

#[test]
fn markers_and_reports_have_no_start() {
    let mut target = Target::new(Settings { start_timestamps: true, ..settings() });
    let content_type = Some("application/openmetrics-text");
    target.page(Page::Body { bytes: b"# TYPE a counter\na_total 5\na_created 1.5\n# EOF\n", content_type });
    assert_eq!(target.store.state().starts, ["a_total 1500@1000"]);
    target.page(Page::Body { bytes: b"# TYPE a counter\na_created 1.5\n# EOF\n", content_type });
    target.holds(&["a_total stale@2000"]);
    assert!(target.store.state().starts.is_empty());
}

const OPEN_METRICS: Option<&str> = Some("application/openmetrics-text");

fn described() -> Settings {
    Settings { type_and_unit_labels: true, ..settings() }
}

#[test]
fn type_and_unit_become_labels_where_they_are_asked_for() {
    let page = "# TYPE a_seconds counter\n# UNIT a_seconds seconds\na_seconds_total 1\n# HELP b without a unit\n# TYPE b gauge\nb 2\n# TYPE c unknown\nc 3\n# EOF\n";
    let with = ["a_seconds_total{__type__=counter,__unit__=seconds}", "b{__type__=gauge}", "c"];
    for (settings, names) in [(described(), with), (settings(), ["a_seconds_total", "b", "c"])] {
        let mut target = Target::new(settings);
        // The second time all lines are known, the third time the store has forgotten all.
        for time in [1000, 2000, 3000] {
            if time == 3000 {
                target.store.forget();
            }
            target.page(Page::Body { bytes: page.as_bytes(), content_type: OPEN_METRICS });
            let want: Vec<String> = names.iter().zip(1..).map(|(name, value)| format!("{name} {value}@{time}")).collect();
            assert_eq!(target.store.newest(), want);
        }
        // Prometheus's own format has no units, and only four types; the report has none.
        target.text("# TYPE d untyped\nd 1\n");
        assert!(target.store.newest().contains(&"d 1@4000".to_owned()));
        let up = target.store.filtered(|name| name == "up");
        assert_eq!(up, ["up 1@4000"]);
    }
}

#[test]
fn what_is_known_of_a_family_replaces_labels_of_its_lines() {
    let mut target = Target::new(described());
    target.page(Page::Body {
        bytes: b"# TYPE a_x counter\n# UNIT a_x x\na_x_total{__type__=\"gauge\",__unit__=\"y\",__name__=\"z\",a=\"b\"} 1\n# TYPE b gauge\nb{__type__=\"info\",__unit__=\"y\"} 1\n# TYPE c unknown\nc{__type__=\"own\"} 1\n# EOF\n",
        content_type: OPEN_METRICS,
    });
    target.holds(&["a_x_total{__type__=counter,__unit__=x,a=b} 1@1000", "b{__type__=gauge,__unit__=y} 1@1000", "c{__type__=own} 1@1000"]);
}

#[test]
fn another_type_or_unit_makes_another_series() {
    let mut target = Target::new(described());
    target.text("# TYPE a counter\na 1\n");
    target.text("# TYPE a gauge\na 1\n");
    target.holds(&["a{__type__=counter} stale@2000", "a{__type__=gauge} 1@2000"]);
    target.text("a 1\n");
    target.holds(&["a 1@3000", "a{__type__=counter} stale@2000", "a{__type__=gauge} stale@3000"]);
    // The type is that of the last line that has one, whatever it names.
    target.text("# TYPE b counter\na 1\n");
    target.holds(&["a stale@4000", "a{__type__=counter} 1@4000", "a{__type__=gauge} stale@3000"]);
}

#[test]
fn relabelling_and_limits_see_type_and_unit() {
    let rules = |text: &str| {
        let config = format!("scrape_configs: [{{job_name: j, {text}}}]");
        Rules::of(&config::parse(&config, std::path::Path::new("/"), |_| None).unwrap().scrape_configs[0])
    };
    let page = "# TYPE a counter\na 1\n";
    let drop = rules("metric_relabel_configs: [{action: labeldrop, regex: __type__}]");
    let mut target = Target::new(Settings { rules: drop, ..described() });
    target.text(page);
    target.holds(&["a 1@1000"]);
    // Name, type, job and instance.
    for (limit, stored) in [(4, true), (3, false)] {
        let mut target = Target::new(Settings { rules: rules(&format!("label_limit: {limit}")), ..described() });
        assert_eq!(target.text(page).error.is_none(), stored, "{limit}");
    }
}

#[test]
fn normalising_is_a_part_of_the_key() {
    let mut target = Target::new(settings());
    target.text("# TYPE h histogram\nh_bucket{le=\"1\"} 1\n");
    target.holds(&["h_bucket{le=1.0} 1@1000"]);
    target.text("h_bucket{le=\"1\"} 1\n");
    target.holds(&["h_bucket{le=1.0} stale@2000", "h_bucket{le=1} 1@2000"]);
}

//! Native histograms and the newer parts of the language, by scripts whose answers are worked out by hand.
#![allow(clippy::unwrap_used, reason = "tests")]

use promql::testlang::run_script;

#[track_caller]
fn check(script: &str) {
    let failed: Vec<String> =
        run_script(script).into_iter().filter_map(|(case, outcome)| Some(format!("{case}: {}", outcome.err()?))).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn rates_are_extrapolated_bucket_by_bucket() {
    check(
        r#"
load 1m
  h_total {{schema:0 count:4 sum:6 buckets:[1 2 1]}}+{{schema:0 count:4 sum:6 buckets:[1 2 1]}}x10
  mixed_total {{count:1 sum:1}} 1 {{count:1 sum:1}} 2

# Five samples span 240 s of 300 s; the first is 60 s from the border, less than 1.1 intervals.
eval instant at 10m increase(h_total[5m])
  {} {{schema:0 count:20 sum:30 buckets:[5 10 5] counter_reset_hint:gauge}}

eval instant at 10m irate(h_total[5m]) * 60
  {} {{schema:0 count:4 sum:6 buckets:[1 2 1] counter_reset_hint:gauge}}

eval instant at 3m rate(mixed_total[4m])
  expect warn msg:PromQL warning: encountered a mix of histograms and floats for metric name "mixed_total" (1:6)

eval instant at 3m changes(mixed_total[4m])
  {} 3

eval instant at 3m max_over_time(mixed_total[4m])
  expect info msg:PromQL info: ignored histograms in a range containing both floats and histograms for metric name "mixed_total" (1:15)
  {} 2
"#,
    );
}

#[test]
fn sums_take_the_coarser_layout_and_refuse_mixtures() {
    check(
        r#"
load 1m
  h{x="fine"} {{schema:1 count:6 sum:9 buckets:[1 2 3]}}
  h{x="coarse"} {{schema:0 count:3 sum:4 buckets:[1 2]}}
  c{x="1"} {{schema:-53 count:6 sum:9 custom_values:[1 2] buckets:[1 2 3]}}
  c{x="2"} {{schema:-53 count:3 sum:4 custom_values:[2] buckets:[1 2]}}
  f 7

eval instant at 0 sum(h)
  expect no_warn
  {} {{schema:0 count:9 sum:13 buckets:[2 7]}}

eval instant at 0 avg(c)
  expect info msg:PromQL info: mismatched custom buckets were reconciled during aggregation (1:5)
  {} {{schema:-53 count:4.5 sum:6.5 custom_values:[2] buckets:[2 2.5]}}

eval instant at 0 sum({__name__=~"[hf]"})
  expect warn msg:PromQL warning: encountered a mix of histograms and floats for aggregation (1:5)

eval instant at 0 sum({__name__=~"[hc]"})
  expect warn regex:mix of histograms with exponential and custom buckets

eval instant at 0 max(h)
  expect info msg:PromQL info: ignored histogram in max aggregation (1:5)

eval instant at 0 -h{x="coarse"}
  {x="coarse"} {{schema:0 count:-3 sum:-4 buckets:[-1 -2] counter_reset_hint:gauge}}

eval instant at 0 h + on() group_left f
  expect info msg:PromQL info: incompatible sample types encountered for binary operator "+": histogram + float (1:1)

eval instant at 0 h{x="coarse"} - ignoring(x) h{x="fine"}
  {} {{schema:0 count:-3 sum:-5 buckets:[0 -3] counter_reset_hint:gauge}}

eval instant at 0 c{x="1"} </ 1.5
  c{x="1"} {{schema:-53 count:2 sum:1.75 custom_values:[1 2] buckets:[1 1]}}
"#,
    );
}

#[test]
fn readings_of_native_histograms() {
    check(
        r#"
load 1m
  h {{schema:0 count:4 sum:6 offset:1 buckets:[2 2]}}

# The median is where the second bucket, (2, 4], begins.
eval instant at 0 histogram_quantile(0.5, h)
  {} 2

eval instant at 0 histogram_fraction(2, +Inf, h)
  {} 0.5

eval instant at 0 histogram_avg(h)
  {} 1.5

eval instant at 0 histogram_quantiles(h, "q", 0, 1)
  {q="0.0"} 1
  {q="1.0"} 4
"#,
    );
}

#[test]
fn windows_that_reach_out() {
    check(
        r#"
load 10s
  m_total 0 10 20 5 15

eval instant at 35s increase(m_total[20s] anchored)
  {} 15

# From 15 at 15 s over 20 and a reset to 10 at 35 s.
eval instant at 35s increase(m_total[20s] smoothed)
  {} 15

eval instant at 25s m_total smoothed
  m_total 12.5

eval instant at 35s max_over_time(m_total[20s] anchored)
  expect fail msg:anchored modifier can only be used with: changes, delta, increase, rate, resets - not with max_over_time
"#,
    );
}

#[test]
fn durations_are_computed() {
    check(
        r#"
load 10s
  m 0+1x20

eval range from 60s to 80s step 10s count_over_time(m[step() * 3])
  {} 3 3 3

eval instant at 100s m offset (20s + 1 * 10)
  m 7

eval range from 60s to 80s step 10s range() + step()
  {} 30 30 30
"#,
    );
}

#[test]
fn missing_sides_are_filled() {
    check(
        r#"
load 1m
  l{a="1"} 1
  l{a="2"} 2
  r{a="2"} 20
  r{a="3"} 30

eval instant at 0 l + fill(100) r
  {a="1"} 101
  {a="2"} 22
  {a="3"} 130
"#,
    );
}

#[test]
fn info_labels_come_from_the_newest_series() {
    check(
        r#"
load 1m
  up{job="j", instance="i"} 1 1 1
  target_info{job="j", instance="i", version="1"} 1 stale
  target_info{job="j", instance="i", version="2"} _ 1 1

eval range from 0 to 2m step 1m info(up)
  up{job="j", instance="i", version="1"} 1 _ _
  up{job="j", instance="i", version="2"} _ 1 1

eval instant at 0 info(up, {nothing=~".+"})
"#,
    );
}

#[test]
fn start_timestamps_tell_resets() {
    check(
        r#"
load 1m
  m_total@st _x2 -1mx2
  m_total _x2 5 6 7

# Each sample began at its predecessor, the first within the window: all of them are gains.
eval instant at 4m increase(m_total[3m1s])
  {} 18

eval instant at 4m start_timestamp(m_total)
  {} 180
"#,
    );
}

#[test]
fn a_subquery_does_not_know_of_resets_between_its_samples() {
    // The third sample says that there was no reset before it; but the second, which the subquery leaves out, came after one.
    check(
        r#"
load 1m
  h_total {{schema:0 count:9 sum:9 buckets:[9]}} {{schema:0 count:2 sum:2 buckets:[2]}} {{schema:0 count:3 sum:3 buckets:[3]}}

eval instant at 2m resets(h_total[3m:2m])
  {} 1

eval instant at 2m irate(h_total[3m:2m]) * 120
  {} {{schema:0 count:3 sum:3 buckets:[3] counter_reset_hint:gauge}}
"#,
    );
}

#[test]
fn pairs_without_a_result_are_no_pairs() {
    check(
        r#"
load 1m
  h{x="1"} {{schema:0 count:2 sum:2 buckets:[2]}}
  f{x="1"} 1

eval instant at 0 h * fill_left(3) h
  expect info msg:PromQL info: incompatible sample types encountered for binary operator "*": histogram * histogram (1:1)
  {x="1"} {{schema:0 count:6 sum:6 buckets:[6]}}

# Of all that is refused at a step only the last is named: here what is filled in.
eval instant at 0 h > fill_left(3) h
  expect info msg:PromQL info: incompatible sample types encountered for binary operator ">": float > histogram (1:1)

eval instant at 0 5 </ {x="1"}
  expect info msg:PromQL info: incompatible sample types encountered for binary operator "</": float </ histogram (1:1)
"#,
    );
}

#[test]
fn mixtures_are_told_once_each() {
    check(
        r#"
load 1m
  s{i="1"} {{schema:0 count:2 sum:2 buckets:[2]}}
  s{i="2"} 1
  s{i="3"} {{schema:-53 count:2 sum:2 buckets:[2] custom_values:[1]}}
  r_total {{schema:0 count:1 sum:1 buckets:[1] counter_reset_hint:gauge}} {{schema:0 count:2 sum:2 buckets:[2]}} {{schema:-53 count:3 sum:2 buckets:[3] custom_values:[1]}} {{schema:0 count:4 sum:2 buckets:[4]}}

eval instant at 0 sum(s)
  expect warn msg:PromQL warning: encountered a mix of histograms and floats for aggregation (1:5)
  expect warn msg:PromQL warning: vector contains a mix of histograms with exponential and custom buckets schemas for metric name "s" (1:5)

# Where schemas are mixed nothing else is said.
eval instant at 3m rate(r_total[5m])
  expect warn msg:PromQL warning: vector contains a mix of histograms with exponential and custom buckets schemas for metric name "r_total" (1:6)
"#,
    );
}

#[test]
fn numbers_of_histograms_leave_the_type() {
    let options = promql::engine::EngineOptions { experimental_functions: true, ..promql::engine::EngineOptions::default() };
    let script = r#"
load 1m
  h{__type__="histogram"} {{schema:0 count:2 sum:6 buckets:[2]}}

eval instant at 0 histogram_sum(h)
  {__type__="histogram"} 6

eval instant at 0 histogram_sum(h) * 2
  {} 12

eval instant at 0 last_over_time(histogram_sum(h)[1m:1m])
  {} 6

eval instant at 0 count_values("v", h * 1e6)
  {v="{count:2e+06, sum:6e+06, (0.5,1]:2e+06}"} 1
"#;
    for (case, outcome) in promql::testlang::run_script_with(script, options) {
        assert_eq!(outcome, Ok(()), "{case}");
    }
}

/// An instant query may leave it to the end, as names go then; a subquery with a single step is none.
#[test]
fn the_same_quantile_twice_is_refused_in_a_subquery_of_one_step() {
    let script = r#"
load 1m
  h{le="1"} 1+1x10
  h{le="+Inf"} 2+2x10

eval instant at 5m30s irate(histogram_quantiles(h, "q", 0.5, 0.5)[1m:])
  expect fail msg: vector cannot contain metrics with the same labelset

eval instant at 5m30s irate(histogram_quantiles(h, "q", 0.5, 0.6)[1m:])
"#;
    for delayed_name_removal in [false, true] {
        let options = promql::engine::EngineOptions {
            experimental_functions: true,
            delayed_name_removal,
            ..promql::engine::EngineOptions::default()
        };
        for (case, outcome) in promql::testlang::run_script_with(script, options) {
            assert_eq!(outcome, Ok(()), "{case}, delayed name removal: {delayed_name_removal}");
        }
    }
}

#[test]
fn native_histograms_beside_classic_ones_say_nothing() {
    check(
        r#"
load 1m
  h {{schema:0 count:3 sum:NaN buckets:[2]}}
  h{le="1"} 1
  h{le="+Inf"} 2

eval instant at 0 histogram_quantile(0.9, h)
  expect no_info
  expect warn msg:PromQL warning: vector contains a mix of classic and native histograms for metric name "h" (1:25)
"#,
    );
}

#[test]
fn totals_are_compared_with_the_sample_at_the_windows_begin() {
    check(
        r#"
load 1m
  h {{schema:0 count:5 sum:5 buckets:[5]}} {{schema:0 count:4 sum:4 buckets:[4]}} {{schema:0 count:4 sum:4 buckets:[4]}}

# A sample at the very begin of the first window is not read.
eval instant at 2m histogram_count(sum_over_time(h[2m]))
  expect no_warn
  {} 8

# Between two windows it is, and tells that the next one is the first after a reset.
eval range from 0 to 2m step 2m histogram_count(sum_over_time(h[2m]))
  expect warn msg:PromQL warning: conflicting counter resets during histogram aggregation (1:31)
  {} 5 8
"#,
    );
}

/// Between two windows lie samples that are in none; the one on which a window ends is none of them. Were it not reduced to its
/// totals as the others are, it would differ from them in its bounds.
#[test]
fn totals_are_read_of_a_sample_at_the_windows_end() {
    check(
        r#"
load 30s
  h {{schema:-53 custom_values:[1 2] count:1 sum:1 buckets:[1]}}+{{schema:-53 custom_values:[1 2] count:1 sum:1 buckets:[1]}}x10

# One more every 30 s, and half of the window is before its first sample.
eval range from 1m to 5m step 2m histogram_count(rate(h[1m]))
  expect no_info
  {} 0.03333333333333333 0.03333333333333333 0.03333333333333333
"#,
    );
}

#[test]
fn results_of_one_label_set_are_refused_after_what_fails_first() {
    check(
        r#"
load 1m
  h{__type__="a", x="1"} {{schema:0 count:2 sum:2 buckets:[2]}}
  h{x="2"} {{schema:0 count:2 sum:2 buckets:[2]}}
  a{x="1"} 1
  a{x="2"} 1
  a{__type__="t", x="3"} 1
  b{__type__="t", x="1"} 1
  b{x="1"} 1
  b{x="2"} _ 1

eval instant at 0 histogram_quantile(0.5, h + ignoring(x) h)
  expect fail msg:vector cannot contain metrics with the same labelset

eval instant at 0 a + ignoring(x) a
  expect fail msg:found duplicate series for the match group {} on the right hand-side of the operation: [{__name__="a", x="1"}, {__name__="a", x="2"}];many-to-many matching not allowed: matching labels must be unique on one side

# What fails at an earlier step comes before.
eval range from 0 to 1m step 1m b + ignoring(x) b
  expect fail msg:vector cannot contain metrics with the same labelset
"#,
    );
}

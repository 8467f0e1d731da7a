//! The fast paths against the plain parser, on made-up and on damaged pages: the same entries, the same errors.

mod common;

use common::compare;
use exposition::Format;
use proptest::prelude::*;

fn formats() -> impl Strategy<Value = Format> {
    prop_oneof![Just(Format::PrometheusText), Just(Format::OpenMetrics)]
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[0-9]{1,6}(\\.[0-9]{1,3})?(e[+-]0[0-9])?",
        1 => any::<f64>().prop_map(|value| value.to_string()),
        1 => "[-+]?(NaN|Inf|nan|[0-9]{15,25}|\\.|1e400|1_0)",
    ]
}

fn labels() -> impl Strategy<Value = String> {
    let label = prop_oneof![
        6 => "[a-z_]{1,5}=\"[a-zA-Z0-9/{} =#,]{0,20}\"",
        1 => "[a-z]{1,2}=\"([ü\"\\\\\n\0x]|\\\\[n\"\\\\x])*\"",
        1 => "(\"[a-z .]{0,4}\"|[a-z:0-9]{0,3})[ =]?=?(\"[a-z]*\")?",
    ];
    prop_oneof![
        1 => Just(String::new()),
        3 => (prop::collection::vec(label, 0..5), ",|, ?", ",?").prop_map(|(labels, comma, last)| format!("{{{}{last}}}", labels.join(&comma))),
    ]
}

fn line() -> impl Strategy<Value = String> {
    let sample = ("[a-z:_][a-z:_0-9]{0,8}", labels(), value(), "( [0-9]{1,13}(\\.5)?)?", "|||| |\t| # \\{\\} 1| # \\{a=\"b\"\\} 2 3|\0")
        .prop_map(|(name, labels, value, time, end)| format!("{name}{labels} {value}{time}{end}"));
    prop_oneof![
        8 => sample,
        2 => "# (TYPE|HELP|UNIT) [a-z_]{1,4} (counter|histogram|summary|info|ü [a-z\\\\]{0,5}| |\0)",
        1 => Just("# EOF".to_owned()),
        1 => "[ #{}a\"=\0\r\t]{0,6}",
    ]
}

fn page() -> impl Strategy<Value = Vec<u8>> {
    (prop::collection::vec(line(), 0..8), any::<bool>()).prop_map(|(lines, ended)| {
        let mut page = lines.join("\n").into_bytes();
        page.extend_from_slice(if ended { b"\n# EOF\n" } else { b"" });
        page
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn made_up_pages(seen in page(), page in page(), format in formats()) {
        compare(&page, &page, format);
        compare(&seen, &page, format);
    }

    #[test]
    fn damaged_pages(page in page(), damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), format in formats()) {
        let mut damaged = page.clone();
        for (index, byte) in damage {
            if !damaged.is_empty() {
                let at = index.index(damaged.len());
                damaged[at] = byte;
            }
        }
        compare(&page, &damaged, format);
    }

    #[test]
    fn any_bytes(page: Vec<u8>, format in formats()) {
        compare(&page, &page, format);
    }
}

#[test]
fn every_cut_of_a_page() {
    let page = "# HELP a Ü \\n\n# TYPE a histogram\na_bucket{le=\"1\",x=\"ü\\\\\"} 3 # {id=\"7\"} 0.5 1.5\na{x=\"} 1\"} 2\n{\"b.c\",\"d e\"=\"1\"} NaN\n# EOF\n";
    for end in 0..=page.len() {
        for format in [Format::PrometheusText, Format::OpenMetrics] {
            compare(page.as_bytes(), &page.as_bytes()[..end], format);
        }
    }
}

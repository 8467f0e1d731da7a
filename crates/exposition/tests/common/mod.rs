//! The fast paths held against the plain parser: for the property tests, the corpora, and the fuzz targets.

use std::collections::HashSet;

use exposition::{Entry, Format, ParseError, Parser};

type Outcome<'a> = (Vec<Entry<'a>>, Option<ParseError>);

fn read<'a>(page: &'a [u8], format: Format, next: impl Fn(&mut Parser<'a>) -> Result<Option<Entry<'a>>, ParseError>) -> Outcome<'a> {
    let mut parser = Parser::new(page, format);
    let mut entries = Vec::new();
    loop {
        match next(&mut parser) {
            Ok(Some(entry)) => entries.push(entry),
            Ok(None) => return (entries, None),
            Err(error) => return (entries, Some(error)),
        }
    }
}

/// Every way to read `page` gives what the plain parser gives, and its labels decode.
///
/// `seen` is an earlier page, whose series are known when `page` comes.
pub fn compare(seen: &[u8], page: &[u8], format: Format) {
    let plain = read(page, format, Parser::next_plain);
    assert_eq!(same(&read(page, format, Parser::next)), same(&plain));
    let known: HashSet<&[u8]> = read(seen, format, Parser::next_plain)
        .0
        .iter()
        .filter_map(|entry| match entry {
            Entry::Sample(sample) => Some(sample.series),
            _ => None,
        })
        .collect();
    assert_eq!(same(&read(page, format, |parser| parser.next_known(|raw, _| known.contains(raw)))), same(&plain));
    let mut pairs = Vec::new();
    for entry in &plain.0 {
        if let Entry::Sample(sample) = entry {
            let _ = sample.labels(&mut pairs);
            let _ = sample.label_set();
            if let Some(exemplar) = &sample.exemplar {
                exemplar.labels(&mut pairs);
            }
        }
    }
}

/// Debug text, as NaN is not equal to itself.
fn same(outcome: &Outcome<'_>) -> String {
    format!("{outcome:?}")
}

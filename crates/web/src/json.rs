//! The API's JSON, written straight into a buffer: never a tree in memory.
//!
//! Texts are escaped as Prometheus's JSON library does with HTML escaping (what the API has always sent),
//! numbers in results are strings, timestamps are seconds with three decimals or none.

use model::{FloatHistogram, Labels, Timestamp, number};

/// Appends a quoted, escaped text.
pub fn text(out: &mut Vec<u8>, text: &str) {
    bytes(out, text.as_bytes());
}

fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    // Most texts stay as they are.
    if bytes.iter().all(|byte| CLEAN[usize::from(*byte)]) {
        out.extend_from_slice(bytes);
    } else {
        escaped(out, bytes);
    }
    out.push(b'"');
}

/// Has a byte, other than a quote, nothing to do with anything that is escaped? Without a branch, so that many are asked at once.
const fn stays(byte: u8) -> bool {
    (byte >= 0x20) & (byte != b'\\') & (byte != b'<') & (byte != b'>') & (byte != b'&') & (byte != 0xe2)
}

/// Bytes that have nothing to do with anything that is escaped.
const CLEAN: [bool; 256] = {
    let mut clean = [true; 256];
    let mut byte = 0;
    while byte < 256 {
        clean[byte] = stays(byte as u8) && byte as u8 != b'"';
        byte += 1;
    }
    clean
};

fn escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut clean_from = 0;
    for (i, &byte) in bytes.iter().enumerate() {
        let escape: Option<&[u8]> = match byte {
            b'"' => Some(b"\\\""),
            b'\\' => Some(b"\\\\"),
            b'\n' => Some(b"\\n"),
            b'\r' => Some(b"\\r"),
            b'\t' => Some(b"\\t"),
            b'<' => Some(b"\\u003c"),
            b'>' => Some(b"\\u003e"),
            b'&' => Some(b"\\u0026"),
            0x00..0x20 => None,
            // U+2028 and U+2029: E2 80 A8, E2 80 A9.
            0xe2 if bytes[i..].starts_with(b"\xe2\x80\xa8") || bytes[i..].starts_with(b"\xe2\x80\xa9") => None,
            _ => continue,
        };
        out.extend_from_slice(&bytes[clean_from..i]);
        clean_from = i + 1;
        match escape {
            Some(escape) => out.extend_from_slice(escape),
            None if byte == 0xe2 => {
                out.extend_from_slice(if bytes[i + 2] == 0xa8 { b"\\u2028" } else { b"\\u2029" });
                clean_from = i + 3;
            }
            None => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
        }
    }
    out.extend_from_slice(&bytes[clean_from..]);
}

/// Appends `{"name":"value",…}`.
pub fn labels(out: &mut Vec<u8>, labels: &Labels) {
    let begin = out.len();
    // A text's quotes and what comes behind it, less its length's byte.
    out.reserve(3 * labels.as_bytes().len() + 4 + REGISTER);
    // Mostly nothing has to be escaped, which is found out faster of all texts at once.
    let quotes = 4 * pairs(out, labels, |out, text| out.extend_from_slice(text));
    let end = out.len();
    out.resize(begin + (end - begin).next_multiple_of(REGISTER), b' ');
    let is_clean = is_clean(&out[begin..], quotes);
    out.truncate(end);
    if !is_clean {
        out.truncate(begin);
        pairs(out, labels, escaped);
    }
}

/// So many pairs; `text` appends what is between quotes.
fn pairs(out: &mut Vec<u8>, labels: &Labels, text: impl Fn(&mut Vec<u8>, &[u8])) -> usize {
    let mut count = 0;
    out.extend_from_slice(b"{\"");
    for (name, value) in labels.iter_bytes() {
        text(out, name);
        out.extend_from_slice(b"\":\"");
        text(out, value);
        out.extend_from_slice(b"\",\"");
        count += 1;
    }
    // A quote that is too many, and a comma if there is a pair.
    out.truncate(out.len() - if count > 0 { 2 } else { 1 });
    out.push(b'}');
    count
}

/// A multiple of so many bytes is looked at without a loop for the rest.
const REGISTER: usize = 32;

/// Is there nothing that is escaped, but so many quotes?
fn is_clean(bytes: &[u8], quotes: usize) -> bool {
    let (mut strange, mut found) = (0, 0);
    // As many as a byte can count.
    for block in bytes.chunks(255 / REGISTER * REGISTER) {
        let mut of_block = 0u8;
        for byte in block {
            strange |= u8::from(!stays(*byte));
            of_block += u8::from(*byte == b'"');
        }
        found += usize::from(of_block);
    }
    strange == 0 && found == quotes
}

/// Appends `["a","b"]`.
pub fn texts<'a>(out: &mut Vec<u8>, list: impl IntoIterator<Item = &'a str>) {
    out.push(b'[');
    for (i, entry) in list.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        text(out, entry);
    }
    out.push(b']');
}

/// Appends seconds: `1.100`, `1`, `-0.001`.
pub fn timestamp(out: &mut Vec<u8>, time: Timestamp) {
    if time.0 < 0 {
        out.push(b'-');
    }
    let (seconds, fraction) = (time.0.unsigned_abs() / 1000, time.0.unsigned_abs() % 1000);
    out.extend_from_slice(itoa::Buffer::new().format(seconds).as_bytes());
    if fraction > 0 {
        // With a one before it the zeros are there.
        let mut digits = itoa::Buffer::new();
        out.push(b'.');
        out.extend_from_slice(&digits.format(1000 + fraction).as_bytes()[1..]);
    }
}

/// Appends a float as the quoted text of the API.
pub fn float(out: &mut Vec<u8>, value: f64) {
    out.push(b'"');
    // Small integers are most of what is stored, and cheap to write.
    let integer = value as i64;
    if integer as f64 == value && integer.abs() < 1_000_000_000_000_000 && (integer != 0 || value.is_sign_positive()) {
        out.extend_from_slice(itoa::Buffer::new().format(integer).as_bytes());
    } else if number::is_plain_in_json(value) {
        number::with_plain(value, |text| out.extend_from_slice(text.as_bytes()));
    } else {
        out.extend_from_slice(number::format_json(value).as_bytes());
    }
    out.push(b'"');
}

/// Appends `[1435781451.781,"1.234"]`.
pub fn point(out: &mut Vec<u8>, time: Timestamp, value: f64) {
    out.push(b'[');
    timestamp(out, time);
    out.push(b',');
    float(out, value);
    out.push(b']');
}

/// Appends `[1435781451.781,{…}]`.
pub fn histogram_point(out: &mut Vec<u8>, time: Timestamp, histogram: &FloatHistogram) {
    out.push(b'[');
    timestamp(out, time);
    out.push(b',');
    self::histogram(out, histogram);
    out.push(b']');
}

/// Appends `{"count":"3","sum":"4.5","buckets":[[0,"0.5","1","3"]]}`: for each bucket that is not empty which bounds
/// belong to it (0: the upper one, 1: the lower one, 2: none, 3: both), the bounds and the count.
pub fn histogram(out: &mut Vec<u8>, histogram: &FloatHistogram) {
    out.extend_from_slice(br#"{"count":"#);
    float(out, histogram.count);
    out.extend_from_slice(br#","sum":"#);
    float(out, histogram.sum);
    let mut opening: &[u8] = br#","buckets":["#;
    for bucket in histogram.buckets().iter().filter(|bucket| bucket.count != 0.0) {
        out.extend_from_slice(opening);
        opening = b",";
        let belongs = match (bucket.lower_inclusive, bucket.upper_inclusive) {
            (false, true) => b"[0,",
            (true, false) => b"[1,",
            (false, false) => b"[2,",
            (true, true) => b"[3,",
        };
        out.extend_from_slice(belongs);
        float(out, bucket.lower);
        out.push(b',');
        float(out, bucket.upper);
        out.push(b',');
        float(out, bucket.count);
        out.push(b']');
    }
    if opening == b"," {
        out.push(b']');
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(write: impl Fn(&mut Vec<u8>), want: &str) {
        let mut out = Vec::new();
        write(&mut out);
        assert_eq!(String::from_utf8_lossy(&out), want);
    }

    #[test]
    fn texts_are_escaped_as_go_does() {
        check(|o| text(o, "a\"b\\c\n<&>\u{1}\u{2028}é"), "\"a\\\"b\\\\c\\n\\u003c\\u0026\\u003e\\u0001\\u2028é\"");
        check(|o| texts(o, ["a", "b"]), r#"["a","b"]"#);
    }

    #[test]
    fn labels_are_texts() {
        // One text stands for those of all lengths: whatever is escaped may stand anywhere.
        let strange = ["\"", "\\", "<", ">", "&", "\n", "\u{1f}", "\u{2028}", "â", "é", "\u{7f}", ""];
        for (len, strange) in [0, 1, 14, 15, 16, 31, 200, 300].into_iter().flat_map(|len| strange.map(|strange| (len, strange))) {
            for value in [format!("{}{strange}", "x".repeat(len)), format!("{strange}{}", "x".repeat(len))] {
                let labels = Labels::from_pairs([("a", value.as_str()), ("b", "1"), ("é\"", "2")]);
                for labels in [labels.filtered(|name| name != "é\"".as_bytes()), labels] {
                    let quoted = |text: &str| {
                        let mut out = Vec::new();
                        super::text(&mut out, text);
                        String::from_utf8_lossy(&out).into_owned()
                    };
                    let want: Vec<String> = labels.iter().map(|(name, value)| format!("{}:{}", quoted(name), quoted(value))).collect();
                    check(|o| super::labels(o, &labels), &format!("{{{}}}", want.join(",")));
                }
            }
        }
        check(|o| super::labels(o, &Labels::empty()), "{}");
    }

    #[test]
    fn points() {
        for (ms, value, want) in [
            (1_000, 20.0, r#"[1,"20"]"#),
            (1_100, -0.0, r#"[1.100,"-0"]"#),
            (-1, 1e-7, r#"[-0.001,"1e-07"]"#),
            (0, f64::NAN, r#"[0,"NaN"]"#),
            (-1_500, 1e21, r#"[-1.500,"1e+21"]"#),
            (1, 0.1, r#"[0.001,"0.1"]"#),
            (1, f64::NEG_INFINITY, r#"[0.001,"-Inf"]"#),
        ] {
            check(|o| point(o, Timestamp(ms), value), want);
        }
    }

    #[test]
    fn histograms() {
        let mut histogram = FloatHistogram { count: 3.5, sum: -1.0, ..FloatHistogram::default() };
        check(|o| histogram_point(o, Timestamp(1_500), &histogram), r#"[1.500,{"count":"3.5","sum":"-1"}]"#);
        histogram.zero_count = 0.5;
        histogram.positive_spans = vec![model::histogram::Span { offset: 0, len: 3 }].into();
        histogram.positive_counts = vec![1.0, 0.0, 2.0];
        let want = r#"{"count":"3.5","sum":"-1","buckets":[[3,"0","0","0.5"],[0,"0.5","1","1"],[0,"2","4","2"]]}"#;
        // The lower bound of the zero bucket is minus nought.
        check(|o| super::histogram(o, &histogram), &want.replacen(r#""0""#, r#""-0""#, 1));
    }
}

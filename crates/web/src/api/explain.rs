//! `explain=true`: what each part of a query did, as JSON.

use crate::json;
use promql::engine::Explanation;

/// `{"operation":…,"parts":[…]}`
pub fn write(out: &mut Vec<u8>, explanation: &Explanation) {
    let Explanation { operation, expression, notes, series, samples, values, bytes, time, parts } = explanation;
    out.extend_from_slice(br#"{"operation":"#);
    json::text(out, operation);
    out.extend_from_slice(br#","expression":"#);
    json::text(out, expression);
    out.extend_from_slice(br#","notes":["#);
    for (i, note) in notes.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        json::text(out, note);
    }
    let seconds = time.as_secs_f64();
    let numbers = format!(r#"],"series":{series},"samples":{samples},"values":{values},"bytes":{bytes},"seconds":{seconds},"parts":["#);
    out.extend_from_slice(numbers.as_bytes());
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write(out, part);
    }
    out.extend_from_slice(b"]}");
}

/// The same as a text.
pub fn to_json(explanation: &Explanation) -> String {
    let mut out = Vec::new();
    write(&mut out, explanation);
    String::from_utf8_lossy(&out).into_owned()
}

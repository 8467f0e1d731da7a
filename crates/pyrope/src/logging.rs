//! Log lines as Prometheus's: logfmt or JSON with `time`, `level`, `source`, `msg` and the event's fields.

use std::fmt::Write as _;
use std::io::Write as _;
use time::OffsetDateTime;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `time=… level=INFO source=… msg="…" key=value`
    Logfmt,
    /// One object a line.
    Json,
}

/// Sends every event of at least `level` to standard error.
pub fn init(level: &str, format: Format) {
    let max = match level {
        "debug" => Level::DEBUG,
        "warn" => Level::WARN,
        "error" => Level::ERROR,
        _ => Level::INFO,
    };
    let filter = tracing_subscriber::filter::LevelFilter::from_level(max);
    tracing_subscriber::registry().with(Lines { format }.with_filter(filter)).init();
}

struct Lines {
    format: Format,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let file = metadata.file().and_then(|f| f.rsplit('/').next()).unwrap_or("");
        let mut fields = Fields(vec![
            ("time".into(), now()),
            ("level".into(), metadata.level().to_string()),
            ("source".into(), format!("{file}:{}", metadata.line().unwrap_or(0))),
        ]);
        event.record(&mut fields);
        let mut line = match self.format {
            Format::Logfmt => logfmt(&fields.0),
            Format::Json => json(&fields.0),
        };
        line.push('\n');
        // A log that cannot be written has nowhere to be reported.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

struct Fields(Vec<(String, String)>);

impl Fields {
    fn add(&mut self, field: &Field, value: String) {
        if field.name() == "message" {
            self.0.insert(3, ("msg".into(), value));
        } else {
            self.0.push((field.name().to_owned(), value));
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.to_owned());
    }
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.add(field, format!("{value:?}"));
    }
}

fn now() -> String {
    let now = OffsetDateTime::now_utc();
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        now.year(),
        u8::from(now.month()),
        now.day(),
        now.hour(),
        now.minute(),
        now.second(),
        now.millisecond()
    )
}

fn logfmt(fields: &[(String, String)]) -> String {
    let mut line = String::with_capacity(160);
    for (i, (name, value)) in fields.iter().enumerate() {
        if i > 0 {
            line.push(' ');
        }
        let plain = !value.is_empty() && value.chars().all(|c| c > ' ' && c != '"' && c != '=' && c != '\u{7f}');
        let written = if plain { write!(line, "{name}={value}") } else { write!(line, "{name}={}", model::name::quote(value)) };
        written.expect("a String takes every write");
    }
    line
}

fn json(fields: &[(String, String)]) -> String {
    let mut out = Vec::with_capacity(200);
    for (i, (name, value)) in fields.iter().enumerate() {
        out.push(if i == 0 { b'{' } else { b',' });
        web::json::text(&mut out, name);
        out.push(b':');
        web::json::text(&mut out, value);
    }
    out.push(b'}');
    String::from_utf8(out).expect("JSON of texts is UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let fields = [("level".into(), "INFO".into()), ("msg".into(), "a \"b\"".into()), ("n".into(), "1".into())];
        assert_eq!(logfmt(&fields), r#"level=INFO msg="a \"b\"" n=1"#);
        assert_eq!(json(&fields), r#"{"level":"INFO","msg":"a \"b\"","n":"1"}"#);
    }
}

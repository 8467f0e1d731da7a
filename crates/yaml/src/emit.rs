//! Block-style YAML in the manner of Go's library: two spaces an indent, lists not indented, quotes where needed.

use crate::node::{Kind, Node};
use crate::resolve::Scalar;

/// Writes a document line by line; the caller knows the structure.
#[derive(Default)]
pub struct Emitter {
    out: String,
    indent: usize,
    /// Whether a `- ` was just written, so that the next thing continues its line.
    after_dash: bool,
}

impl Emitter {
    /// An empty document.
    pub fn new() -> Self {
        Self::default()
    }

    /// `key: value` on a line of its own.
    pub fn scalar(&mut self, key: &str, value: &str) {
        self.start_line();
        self.out.push_str(&quote(key));
        self.out.push_str(": ");
        self.out.push_str(value);
        self.out.push('\n');
    }

    /// `key:` and a mapping, written by `body`, below it.
    pub fn mapping(&mut self, key: &str, body: impl FnOnce(&mut Self)) {
        self.key(key);
        self.indent += 1;
        body(self);
        self.indent -= 1;
    }

    /// `key:` and a list, written by `body` with [`Self::item`] and [`Self::item_mapping`], below it.
    pub fn list(&mut self, key: &str, body: impl FnOnce(&mut Self)) {
        self.key(key);
        body(self);
    }

    /// `- value` in a list.
    pub fn item(&mut self, value: &str) {
        self.start_line();
        self.out.push_str("- ");
        self.out.push_str(value);
        self.out.push('\n');
    }

    /// `- ` and a mapping, written by `body`, which must write at least one entry.
    pub fn item_mapping(&mut self, body: impl FnOnce(&mut Self)) {
        self.start_line();
        self.out.push_str("- ");
        self.after_dash = true;
        self.indent += 1;
        body(self);
        self.indent -= 1;
        self.after_dash = false;
    }

    /// The document.
    pub fn finish(self) -> String {
        self.out
    }

    fn key(&mut self, key: &str) {
        self.start_line();
        self.out.push_str(&quote(key));
        self.out.push_str(":\n");
    }

    fn start_line(&mut self) {
        if !std::mem::take(&mut self.after_dash) {
            self.out.extend(std::iter::repeat_n("  ", self.indent));
        }
    }
}

/// A text as a scalar that is read back as that text.
pub fn quote(text: &str) -> String {
    let special = text.starts_with(|first: char| "-?:,[]{}#&*!|>'\"%@` ".contains(first))
        || text.ends_with([' ', ':'])
        || text.contains(": ")
        || text.contains(" #");
    if text.chars().any(|c| c.is_control() || c == '\u{feff}' || c == '\u{2028}' || c == '\u{2029}') {
        return double_quote(text);
    }
    if reads_as_another_type(text) {
        return format!("\"{text}\"");
    }
    if special && !is_plain_despite_its_start(text) { format!("'{}'", text.replace('\'', "''")) } else { text.to_owned() }
}

/// `-x`, `?x` and `:x` are plain when no space follows.
fn is_plain_despite_its_start(text: &str) -> bool {
    let mut chars = text.chars();
    let starts_well = matches!(chars.next(), Some('-' | '?' | ':')) && chars.next().is_some_and(|second| !second.is_whitespace());
    starts_well && !text.contains(": ") && !text.contains(" #") && !text.ends_with([' ', ':']) && !text.starts_with("---")
}

fn reads_as_another_type(text: &str) -> bool {
    let kind = Kind::Scalar { text: text.to_owned(), plain: true };
    let node = Node { line: 0, column: 0, tag: None, kind, expanded_count: 1 };
    node.is_merge() || text == "..." || !matches!(node.resolve(), Ok(Scalar::Str))
}

fn double_quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if (c as u32) < 0x100 && c.is_control() => out.push_str(&format!("\\x{:02X}", c as u32)),
            c if c.is_control() || matches!(c, '\u{feff}' | '\u{2028}' | '\u{2029}') => {
                out.push_str(&format!("\\u{:04X}", c as u32));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_quoted_text_reads_back(text in any::<String>()) {
            let document = format!("key: {}\n", quote(&text));
            let root = crate::parse(&document).unwrap().unwrap();
            let value = &root.entries().unwrap()[0].1;
            prop_assert_eq!(value.text(), Some(text.as_str()), "{}", document);
            prop_assert!(matches!(value.resolve(), Ok(Scalar::Str)));
        }
    }

    #[test]
    fn structure_is_that_of_go() {
        let mut out = Emitter::new();
        out.mapping("global", |out| out.scalar("scrape_interval", "15s"));
        out.list("scrape_configs", |out| {
            out.item_mapping(|out| {
                out.scalar("job_name", "a");
                out.list("targets", |out| out.item("x:1"));
            });
        });
        let want = "global:\n  scrape_interval: 15s\nscrape_configs:\n- job_name: a\n  targets:\n  - x:1\n";
        assert_eq!(out.finish(), want);
    }
}

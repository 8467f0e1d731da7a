//! From text to a tree.
//!
//! # Invariants
//! - The tree is at most [`DEPTH_MAX`] deep, so whoever walks it may recurse.
//! - Expanding every alias costs no more than a small factor of the text, by the rule of Go's library.

use std::collections::HashMap;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

use crate::node::{Kind, Node};

/// Levels of nesting above which a document is refused. A configuration has less than a dozen.
const DEPTH_MAX: usize = 200;

/// Why a text is not YAML.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The grammar is broken.
    #[error("yaml: line {line}: {message}")]
    Syntax {
        /// Where, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// An alias names no anchor before it.
    #[error("yaml: unknown anchor '{0}' referenced")]
    UnknownAnchor(String),
    /// An alias stands inside the value that it stands for.
    #[error("yaml: anchor '{0}' value contains itself")]
    Recursive(String),
    /// Aliases blow the document up.
    #[error("yaml: document contains excessive aliasing")]
    ExcessiveAliasing,
    /// The nesting is too deep.
    #[error("yaml: line {0}: exceeded max depth of {DEPTH_MAX}")]
    TooDeep(usize),
    /// A scalar does not hold what its tag promises.
    #[error("yaml: {0}")]
    Tag(String),
}

/// Reads the first document of `text`; `None` if there is none.
///
/// # Errors
/// See [`Error`].
pub fn parse(text: &str) -> Result<Option<Arc<Node>>, Error> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    Builder::default().build(Parser::new_from_str(text))
}

/// A collection whose end has not come yet.
struct Open {
    node: Node,
    anchor: usize,
    /// The key that waits for its value.
    key: Option<Arc<Node>>,
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, Arc<Node>>,
    root: Option<Arc<Node>>,
    literal_count: u64,
}

impl Builder {
    fn build(mut self, parser: Parser<'_, saphyr_parser::StrInput<'_>>) -> Result<Option<Arc<Node>>, Error> {
        for event in parser {
            let (event, span) = event.map_err(|error| {
                let info = error.info();
                match info.strip_prefix("while parsing node, found unknown anchor") {
                    Some(_) => Error::UnknownAnchor(anchor_at(error.marker().index())),
                    None => Error::Syntax { line: error.marker().line(), message: info.to_owned() },
                }
            })?;
            let (line, column) = (span.start.line(), span.start.col() + 1);
            let node = |tag: Option<String>, kind| Node { line, column, tag, kind, expanded_count: 1 };
            match event {
                Event::Nothing | Event::StreamStart | Event::DocumentStart(_) => {}
                // Like Prometheus, we read one document and leave the rest alone.
                Event::DocumentEnd | Event::StreamEnd => break,
                Event::Alias(anchor) => {
                    let target = self.anchors.get(&anchor).map(Arc::clone);
                    self.place(target.ok_or_else(|| Error::Recursive(anchor.to_string()))?)?;
                }
                Event::Scalar(text, style, anchor, tag) => {
                    self.literal_count += 1;
                    let plain = matches!(style, ScalarStyle::Plain);
                    let scalar = Arc::new(node(short_tag(tag.as_deref()), Kind::Scalar { text: text.into_owned(), plain }));
                    self.name(anchor, &scalar);
                    self.place(scalar)?;
                }
                Event::SequenceStart(anchor, tag) => {
                    self.start(node(short_tag(tag.as_deref()), Kind::Sequence(Vec::new())), anchor)?;
                }
                Event::MappingStart(anchor, tag) => {
                    self.start(node(short_tag(tag.as_deref()), Kind::Mapping(Vec::new())), anchor)?;
                }
                Event::SequenceEnd | Event::MappingEnd => self.end()?,
            }
        }
        Ok(self.root)
    }

    fn start(&mut self, node: Node, anchor: usize) -> Result<(), Error> {
        if self.open.len() >= DEPTH_MAX {
            return Err(Error::TooDeep(node.line));
        }
        self.literal_count += 1;
        self.open.push(Open { node, anchor, key: None });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Error> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let node = Arc::new(open.node);
        self.name(open.anchor, &node);
        self.place(node)
    }

    /// Remembers the node of an anchor; the parser counts anchors from 1.
    fn name(&mut self, anchor: usize, node: &Arc<Node>) {
        if anchor > 0 {
            self.anchors.insert(anchor, Arc::clone(node));
        }
    }

    /// Puts a finished node into the collection that is open.
    fn place(&mut self, node: Arc<Node>) -> Result<(), Error> {
        let Some(parent) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        parent.node.expanded_count = parent.node.expanded_count.saturating_add(node.expanded_count);
        check_aliasing(parent.node.expanded_count, self.literal_count)?;
        match (&mut parent.node.kind, parent.key.take()) {
            (Kind::Sequence(items), _) => items.push(node),
            (Kind::Mapping(entries), Some(key)) => entries.push((key, node)),
            (Kind::Mapping(_), None) => parent.key = Some(node),
            (Kind::Scalar { .. }, _) => {}
        }
        Ok(())
    }
}

/// Go's rule: small documents may consist of aliases by 99 in 100, large ones by one in ten.
fn check_aliasing(expanded: u64, literal: u64) -> Result<(), Error> {
    const SMALL: f64 = 400_000.0;
    const LARGE: f64 = 4_000_000.0;
    let (total, aliased) = (expanded as f64, expanded.saturating_sub(literal) as f64);
    let allowed = 0.99 - 0.89 * ((total - SMALL) / (LARGE - SMALL)).clamp(0.0, 1.0);
    if aliased > 100.0 && total > 1000.0 && aliased / total > allowed { Err(Error::ExcessiveAliasing) } else { Ok(()) }
}

/// The parser does not say which anchor is unknown, only where.
fn anchor_at(index: usize) -> String {
    format!("at offset {index}")
}

fn short_tag(tag: Option<&Tag>) -> Option<String> {
    let tag = tag?;
    Some(match tag.handle.as_str() {
        "tag:yaml.org,2002:" | "!!" => format!("!!{}", tag.suffix),
        handle => format!("{handle}{}", tag.suffix),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_know_their_place() {
        let root = parse("# comment\na:\n  - b: 1\n    c: |\n      x\n").unwrap().unwrap();
        let (key, list) = &root.entries().unwrap()[0];
        assert_eq!((key.line, key.column), (2, 1));
        let entries = list.items().unwrap()[0].entries().unwrap();
        assert_eq!((entries[0].1.line, entries[0].1.column), (3, 8));
        assert_eq!((entries[1].0.line, entries[1].0.text()), (4, Some("c")));
    }

    #[test]
    fn aliases_share_and_are_bounded() {
        let root = parse("a: &x [1, 2]\nb: *x\n").unwrap().unwrap();
        let entries = root.entries().unwrap();
        assert!(Arc::ptr_eq(&entries[0].1, &entries[1].1));
        assert!(matches!(parse("a: &x [*x]"), Err(Error::Recursive(_))));
        assert!(matches!(parse("a: *y"), Err(Error::UnknownAnchor(_))), "{:?}", parse("a: *y"));

        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..20 {
            let item = format!("*a{}, ", level - 1);
            bomb.push_str(&format!("a{level}: &a{level} [{}]\n", item.repeat(10)));
        }
        assert_eq!(parse(&bomb), Err(Error::ExcessiveAliasing));
    }

    #[test]
    fn depth_is_bounded() {
        assert!(matches!(parse(&"[".repeat(100_000)), Err(Error::TooDeep(1) | Error::Syntax { .. })));
        assert!(parse(&format!("{}{}", "[".repeat(100), "]".repeat(100))).is_ok());
    }

    #[test]
    fn nothing_is_no_document() {
        assert_eq!(parse("").unwrap(), None);
        assert_eq!(parse("# only a comment\n").unwrap(), None);
        assert!(parse("a: [").is_err());
        assert_eq!(parse("a: 1\n---\nb: 2\n").unwrap().unwrap().entries().unwrap().len(), 1);
    }

    proptest! {
        #[test]
        fn any_text_returns(text in "[-a:\\[\\]{}&*!|>'\"%#? \n\t<0-9]{0,60}") {
            let _ = parse(&text);
        }
    }
}

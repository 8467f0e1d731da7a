//! The tree of a document.

use std::sync::Arc;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Line of the first character, from 1.
    pub line: usize,
    /// Column of the first character, from 1.
    pub column: usize,
    /// An explicit tag in its short form, such as `!!str`.
    pub tag: Option<String>,
    /// What the value is.
    pub kind: Kind,
    /// How many nodes this one has, itself included, with every alias expanded.
    pub(crate) expanded_count: u64,
}

/// The shapes of a value. Aliases share the node of their anchor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text, and whether it stands without quotes.
    Scalar {
        /// The text, with escapes and folding undone.
        text: String,
        /// Whether it is unquoted, so that it may mean a number, a boolean or null.
        plain: bool,
    },
    /// A list.
    Sequence(Vec<Arc<Node>>),
    /// Keys and values in the order of the file; keys may repeat.
    Mapping(Vec<(Arc<Node>, Arc<Node>)>),
}

impl Node {
    /// The text of a scalar.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, .. } => Some(text),
            Kind::Sequence(_) | Kind::Mapping(_) => None,
        }
    }

    /// The items of a sequence.
    pub fn items(&self) -> Option<&[Arc<Node>]> {
        match &self.kind {
            Kind::Sequence(items) => Some(items),
            Kind::Scalar { .. } | Kind::Mapping(_) => None,
        }
    }

    /// The entries of a mapping.
    pub fn entries(&self) -> Option<&[(Arc<Node>, Arc<Node>)]> {
        match &self.kind {
            Kind::Mapping(entries) => Some(entries),
            Kind::Scalar { .. } | Kind::Sequence(_) => None,
        }
    }

    /// Whether this is null: nothing at all, `~`, `null` or the like.
    pub fn is_null(&self) -> bool {
        match &self.kind {
            Kind::Scalar { text, plain } => match self.tag.as_deref() {
                Some(tag) => tag == "!!null",
                None => *plain && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"),
            },
            Kind::Sequence(_) | Kind::Mapping(_) => false,
        }
    }

    /// Whether this key merges the mappings of its value into its own (`<<`).
    pub fn is_merge(&self) -> bool {
        match &self.kind {
            Kind::Scalar { text, plain } => text == "<<" && (*plain || self.tag.as_deref() == Some("!!merge")),
            Kind::Sequence(_) | Kind::Mapping(_) => false,
        }
    }
}

//! YAML as Go's library reads it: a tree in which every value knows its line.
//!
//! Prometheus's messages name lines, and its scalars follow YAML 1.1 (`yes`, `0o17`, `1_000`), so text becomes a
//! [`Node`] tree first, and a scalar gets a type only when someone asks for it. Which parser makes the events is known
//! to `parse.rs` alone; `docs/decisions/0002-yaml.md` says why it is the one it is.
//!
//! ```
//! let document = yaml::parse("a: [1, yes]").unwrap().unwrap();
//! let (key, value) = &document.entries().unwrap()[0];
//! assert_eq!((key.text(), value.line), (Some("a"), 1));
//! assert_eq!(value.items().unwrap()[1].resolve().unwrap(), yaml::Scalar::Bool(true));
//! ```

#![forbid(unsafe_code)]

mod emit;
mod node;
mod parse;
mod resolve;

pub use emit::{Emitter, quote};
pub use node::{Kind, Node};
pub use parse::{Error, parse};
pub use resolve::Scalar;

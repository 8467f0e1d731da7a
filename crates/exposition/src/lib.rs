//! Parsers of the exposition formats: what a target's page says, line by line.
//!
//! Prometheus text (0.0.4 and 1.0.0 with quoted UTF-8 names) and OpenMetrics 1.0 are read exactly as Prometheus 3.14
//! reads them, oddities included, because a page that it accepts must not be refused here, nor the reverse.
//! Everything borrows from the body. A sample carries the raw bytes of its series; whoever has seen those bytes before
//! needs no labels, and [`Parser::next_known`] then does not even look at them.
//!
//! ```
//! use exposition::{Entry, Format, Parser};
//!
//! let mut parser = Parser::new(b"# TYPE up gauge\nup{job=\"node\"} 1\n", Format::PrometheusText);
//! let mut labels = Vec::new();
//! while let Some(entry) = parser.next()? {
//!     if let Entry::Sample(sample) = entry {
//!         assert_eq!((sample.series, sample.value), (&b"up{job=\"node\"}"[..], 1.0));
//!         sample.labels(&mut labels)?;
//!         assert_eq!(labels[1], ("job".into(), "node".into()));
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Invariants
//! - The fast paths answer exactly as the plain parser does, or leave the line to it; a property test holds them equal.
//! - No input panics, and nothing is allocated for a line that is well-formed.

pub mod content_type;
pub mod entry;
pub mod error;
mod fast;
mod lexer;
pub mod number;
pub mod parser;
mod plain;
pub mod starts;
mod text;

pub use content_type::{ContentTypeError, Format, negotiate};
pub use entry::{Entry, LabelPairs, Normalise, RawExemplar, Sample};
pub use error::{LabelsError, ParseError, ParseErrorKind};
pub use lexer::Token;
pub use parser::Parser;
pub use starts::Starts;

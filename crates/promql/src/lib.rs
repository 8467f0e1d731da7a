//! PromQL: lexer, parser, printer, plan and engine.

pub mod ast;
pub mod engine;
pub mod functions;
mod lexer;
pub mod parser;
mod plan;
pub mod prettier;
mod printer;
pub mod testlang;

pub use parser::{ParseError, ParserOptions, parse, parse_selector, parse_series_description};
pub use prettier::prettify;

//! PromQL: lexer, parser, printer, plan and engine.

pub mod ast;
pub mod engine;
pub mod functions;
pub mod parser;

pub use parser::{ParseError, ParserOptions, parse, parse_selector};

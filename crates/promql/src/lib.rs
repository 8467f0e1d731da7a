//! PromQL: lexer, parser, printer, plan and engine.

pub mod ast;
pub mod functions;

//! PromQL: lexer, parser, printer, plan and engine.

pub mod ast;
pub mod engine;
pub mod functions;

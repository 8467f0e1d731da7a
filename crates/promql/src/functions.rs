//! The functions' names and types. A function is listed here once the engine evaluates it, never before.

use crate::ast::ValueType;

/// A function of the language.
#[derive(Debug, PartialEq, Eq)]
pub struct Signature {
    /// Its name.
    pub name: &'static str,
    /// Types of its arguments.
    pub args: &'static [ValueType],
    /// 0: all arguments needed; n: the last n are optional; -1: the last may be left out or repeated.
    pub variadic: i8,
    /// What it gives.
    pub result: ValueType,
}

/// The function of this name.
pub fn find(name: &str) -> Option<&'static Signature> {
    SIGNATURES.iter().find(|signature| signature.name == name)
}

const SIGNATURES: &[Signature] = &[Signature { name: "rate", args: &[ValueType::Matrix], variadic: 0, result: ValueType::Vector }];

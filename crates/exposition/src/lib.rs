//! Parsers of the exposition formats

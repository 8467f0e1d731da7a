//! YAML as Go's library reads it, with the line of every value.

#![forbid(unsafe_code)]

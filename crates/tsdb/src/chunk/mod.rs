//! Chunks: runs of one series' samples as bytes, in Prometheus's encodings.

pub mod xor;

//! The binary: flags, wiring, signals, reload
fn main() {}

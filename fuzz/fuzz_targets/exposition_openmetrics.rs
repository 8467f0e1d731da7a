//! Any bytes as a page of OpenMetrics: no panic, and the fast paths agree with the plain parser.
#![no_main]

#[path = "../../crates/exposition/tests/common/mod.rs"]
mod common;

libfuzzer_sys::fuzz_target!(|page: &[u8]| common::compare(page, page, exposition::Format::OpenMetrics));

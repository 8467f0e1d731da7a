//! Any bytes as a block's index: no panic, whatever is asked of it.
#![no_main]

mod block_walk;

libfuzzer_sys::fuzz_target!(|index: &[u8]| block_walk::walk(index.to_vec()));

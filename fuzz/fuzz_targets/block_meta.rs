//! Any bytes as a block's meta.json: no panic, and what is read is written so that it reads the same.
#![no_main]

use tsdb::block::Meta;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok((meta, _)) = Meta::parse(bytes) {
        assert_eq!(Meta::parse(meta.to_json().as_bytes()), Ok((meta, 1)));
    }
});

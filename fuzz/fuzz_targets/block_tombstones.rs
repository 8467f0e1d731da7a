//! Any bytes as a block's tombstones: no panic, and what is read is written so that it reads the same.
#![no_main]

use tsdb::block::tombstones::{decode, encode};

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    drop(decode(body));
    let mut bytes = vec![0x01, 0x30, 0xba, 0x30, 1];
    bytes.extend_from_slice(body);
    bytes.extend_from_slice(&crc32c::crc32c(body).to_be_bytes());
    if let Ok(tombstones) = decode(&bytes) {
        assert_eq!(decode(&encode(&tombstones)).as_ref(), Ok(&tombstones));
    }
});

//! Any bytes as a saved head, with and without a checksum that fits: no panic.
#![no_main]

use tsdb::db::saved::read;

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    read(body, |_| {});
    let mut bytes = b"pyhead\0\x03".to_vec();
    bytes.extend_from_slice(body);
    bytes.extend_from_slice(&[0; 7 * 8]);
    let checksum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    read(&bytes, |_| {});
});

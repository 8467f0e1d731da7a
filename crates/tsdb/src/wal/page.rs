//! Pages: how records lie in a segment, and their checksums.
//!
//! A segment is a run of pages of 32 KiB. A record is cut into fragments, none of which crosses a page; what is left of a
//! page that cannot hold a fragment is zero. Layout: docs/formats.md.

/// Bytes of a page.
pub const PAGE_LEN: usize = 32 * 1024;
/// Bytes before a fragment's data: kind (1), length (2), CRC-32C of the data (4).
pub const FRAGMENT_HEADER_LEN: usize = 1 + 2 + 4;
/// The lowest three bits of the first byte: which fragment of its record this is.
pub const FRAGMENT_MASK: u8 = 0b111;
/// No fragment: the rest of the page is zero.
pub const PAGE_END: u8 = 0;
/// A whole record.
pub const FULL: u8 = 1;
/// The first fragment of several.
pub const FIRST: u8 = 2;
/// One that is neither first nor last.
pub const MIDDLE: u8 = 3;
/// The last fragment of several.
pub const LAST: u8 = 4;
/// Flag in the first byte: the record's bytes are one snappy block.
pub const SNAPPY: u8 = 1 << 3;
/// Flag in the first byte: the record's bytes are one zstd frame.
pub const ZSTD: u8 = 1 << 4;
/// Bits of the first byte that nobody uses.
pub const RESERVED_MASK: u8 = 0b1110_0000;

const _: () = assert!(PAGE_LEN <= 1 << 16, "a fragment's length fits its two bytes");

/// Appends a record to `segment_tail`, the bytes that follow `segment_len` written ones, cut into fragments.
///
/// `flags` is [`SNAPPY`] or zero and says how `data` is to be read.
pub fn put_record(segment_tail: &mut Vec<u8>, segment_len: u64, flags: u8, data: &[u8]) {
    let mut rest = data;
    let mut first = true;
    loop {
        let used = used_of_page(segment_len + segment_tail.len() as u64);
        let left = PAGE_LEN - used;
        // A header without data would be legal, but Prometheus fills such a page up, and so do we.
        if left <= FRAGMENT_HEADER_LEN {
            segment_tail.resize(segment_tail.len() + left, 0);
            continue;
        }
        let (now, later) = rest.split_at(rest.len().min(left - FRAGMENT_HEADER_LEN));
        let kind = match (first, later.is_empty()) {
            (true, true) => FULL,
            (true, false) => FIRST,
            (false, false) => MIDDLE,
            (false, true) => LAST,
        };
        segment_tail.push(kind | flags);
        segment_tail.extend_from_slice(&(now.len() as u16).to_be_bytes());
        segment_tail.extend_from_slice(&crc32c::crc32c(now).to_be_bytes());
        segment_tail.extend_from_slice(now);
        if later.is_empty() {
            return;
        }
        (rest, first) = (later, false);
    }
}

/// At most how many bytes [`put_record`] appends for data of this length.
pub fn record_len_max(data_len: usize) -> usize {
    let fragments = data_len / (PAGE_LEN - FRAGMENT_HEADER_LEN) + 2;
    // Each page but the last can end in filling, at most a header's length of it.
    data_len + fragments * 2 * FRAGMENT_HEADER_LEN
}

/// Bytes that fill up the page in which a segment of this length ends.
pub fn filling_len(segment_len: u64) -> usize {
    (PAGE_LEN - used_of_page(segment_len)) % PAGE_LEN
}

fn used_of_page(segment_len: u64) -> usize {
    (segment_len % PAGE_LEN as u64) as usize
}

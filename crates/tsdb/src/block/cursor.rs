//! Numbers and texts as Prometheus's block files hold them: read with every length checked, and written.

/// Walks through bytes; whatever does not fit into them is `None`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'b>(&'b [u8]);

impl<'b> Cursor<'b> {
    pub fn new(bytes: &'b [u8]) -> Self {
        Self(bytes)
    }

    /// What is left.
    pub fn rest(&self) -> &'b [u8] {
        self.0
    }

    #[inline]
    pub fn take(&mut self, len: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    pub fn be32(&mut self) -> Option<u32> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*bytes))
    }

    pub fn be64(&mut self) -> Option<u64> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_be_bytes(*bytes))
    }

    #[inline]
    pub fn uvarint(&mut self) -> Option<u64> {
        match self.0 {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.0 = rest;
                Some(u64::from(*byte))
            }
            [low, high, rest @ ..] if *high < 0x80 => {
                self.0 = rest;
                Some(u64::from(low & 0x7f) | u64::from(*high) << 7)
            }
            _ => self.long_uvarint(),
        }
    }

    fn long_uvarint(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for (at, byte) in self.0.iter().take(10).enumerate() {
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has place for one bit.
            if at == 9 && bits > 1 {
                return None;
            }
            number |= bits << (7 * at);
            if *byte < 0x80 {
                self.0 = self.0.get(at + 1..)?;
                return Some(number);
            }
        }
        None
    }

    pub fn varint(&mut self) -> Option<i64> {
        let zigzag = self.uvarint()?;
        Some((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed())
    }

    /// Bytes after their length.
    #[inline]
    pub fn text(&mut self) -> Option<&'b [u8]> {
        let len = usize::try_from(self.uvarint()?).ok()?;
        self.take(len)
    }
}

pub(super) fn put_uvarint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

pub(super) fn put_varint(out: &mut Vec<u8>, number: i64) {
    put_uvarint(out, ((number << 1) ^ (number >> 63)).cast_unsigned());
}

pub(super) fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    put_uvarint(out, text.len() as u64);
    out.extend_from_slice(text);
}

/// How many bytes [`put_uvarint`] writes.
pub(super) fn uvarint_len(number: u64) -> u64 {
    u64::from((63 - (number | 1).leading_zeros()) / 7 + 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back(number: u64, signed: i64, shift in 0u32..64) {
            let (number, signed) = (number >> shift, signed >> shift);
            let mut bytes = Vec::new();
            put_uvarint(&mut bytes, number);
            prop_assert_eq!(bytes.len() as u64, uvarint_len(number));
            put_varint(&mut bytes, signed);
            let mut cursor = Cursor::new(&bytes);
            prop_assert_eq!((cursor.uvarint(), cursor.varint(), cursor.rest().len()), (Some(number), Some(signed), 0));
            for cut in 0..bytes.len() {
                let mut cursor = Cursor::new(&bytes[..cut]);
                prop_assert!(cursor.uvarint().and_then(|_| cursor.varint()).is_none());
            }
        }
    }

    #[test]
    fn too_long_numbers_are_refused() {
        assert_eq!(Cursor::new(&[0xff; 20]).uvarint(), None);
        assert_eq!(Cursor::new(&[0x80; 20]).uvarint(), None);
        let mut greatest = [0xff; 10];
        greatest[9] = 1;
        assert_eq!(Cursor::new(&greatest).uvarint(), Some(u64::MAX));
        greatest[9] = 2;
        assert_eq!(Cursor::new(&greatest).uvarint(), None);
        assert_eq!(Cursor::new(&[5, 1, 2]).text(), None);
    }
}

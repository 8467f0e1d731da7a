//! Protobuf's wire format, read in place: fields of a message that lies in a slice.

/// Why bytes are no protobuf message; the texts are those of Prometheus's decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WireError {
    /// The message ends within a field.
    #[error("unexpected EOF")]
    Cut,
    /// More than 64 bits.
    #[error("proto: integer overflow")]
    Overflow,
    /// Field number 0.
    #[error("proto: illegal tag 0 (wire type {0})")]
    FieldZero(u8),
    /// Types 6 and 7 do not exist, and groups are not used.
    #[error("proto: illegal wireType {0}")]
    WireType(u8),
    /// A known field of another type than it should have.
    #[error("proto: wrong wireType = {wire_type} for field {field}")]
    WrongType {
        /// The field.
        field: u32,
        /// The type found.
        wire_type: u8,
    },
}

/// A field's value as it stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

impl<'a> Value<'a> {
    fn wire_type(self) -> u8 {
        match self {
            Self::Varint(_) => 0,
            Self::Fixed64(_) => 1,
            Self::Bytes(_) => 2,
            Self::Fixed32(_) => 5,
        }
    }

    #[inline]
    pub(crate) fn bytes(self, field: u32) -> Result<&'a [u8], WireError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            other => Err(WireError::WrongType { field, wire_type: other.wire_type() }),
        }
    }

    #[inline]
    pub(crate) fn double(self, field: u32) -> Result<f64, WireError> {
        match self {
            Self::Fixed64(bits) => Ok(f64::from_bits(bits)),
            other => Err(WireError::WrongType { field, wire_type: other.wire_type() }),
        }
    }

    #[inline]
    pub(crate) fn uint64(self, field: u32) -> Result<u64, WireError> {
        match self {
            Self::Varint(value) => Ok(value),
            other => Err(WireError::WrongType { field, wire_type: other.wire_type() }),
        }
    }

    #[inline]
    pub(crate) fn int64(self, field: u32) -> Result<i64, WireError> {
        self.uint64(field).map(u64::cast_signed)
    }

    /// Higher bits are dropped, as Prometheus's decoder does.
    #[inline]
    pub(crate) fn uint32(self, field: u32) -> Result<u32, WireError> {
        self.uint64(field).map(|value| value as u32)
    }

    pub(crate) fn sint32(self, field: u32) -> Result<i32, WireError> {
        self.uint64(field).map(|value| zigzag(u64::from(value as u32)) as i32)
    }

    /// A repeated number of variable length: packed into one field, or one of several fields.
    pub(crate) fn each_varint(self, field: u32, mut each: impl FnMut(u64)) -> Result<(), WireError> {
        match self {
            Self::Varint(value) => each(value),
            Self::Bytes(mut packed) => {
                while !packed.is_empty() {
                    each(varint(&mut packed)?);
                }
            }
            other => return Err(WireError::WrongType { field, wire_type: other.wire_type() }),
        }
        Ok(())
    }

    /// A repeated double: packed into one field, or one of several fields.
    pub(crate) fn each_double(self, field: u32, mut each: impl FnMut(f64)) -> Result<(), WireError> {
        match self {
            Self::Fixed64(bits) => each(f64::from_bits(bits)),
            Self::Bytes(mut packed) => {
                while !packed.is_empty() {
                    each(f64::from_le_bytes(array(&mut packed)?));
                }
            }
            other => return Err(WireError::WrongType { field, wire_type: other.wire_type() }),
        }
        Ok(())
    }
}

/// A signed number whose lowest bit is its sign.
#[inline]
pub(crate) fn zigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

/// Reads the next field from the front of `message`; `None` at its end.
#[inline]
pub(crate) fn next_field<'a>(message: &mut &'a [u8]) -> Result<Option<(u32, Value<'a>)>, WireError> {
    if message.is_empty() {
        return Ok(None);
    }
    let tag = varint(message)?;
    let wire_type = (tag & 7) as u8;
    let field = u32::try_from(tag >> 3).map_err(|_| WireError::Overflow)?;
    if field == 0 {
        return Err(WireError::FieldZero(wire_type));
    }
    let value = match wire_type {
        0 => Value::Varint(varint(message)?),
        1 => Value::Fixed64(u64::from_le_bytes(array(message)?)),
        2 => {
            let len = usize::try_from(varint(message)?).map_err(|_| WireError::Overflow)?;
            let (bytes, rest) = message.split_at_checked(len).ok_or(WireError::Cut)?;
            *message = rest;
            Value::Bytes(bytes)
        }
        5 => Value::Fixed32(u32::from_le_bytes(array(message)?)),
        other => return Err(WireError::WireType(other)),
    };
    Ok(Some((field, value)))
}

#[inline]
fn array<const N: usize>(message: &mut &[u8]) -> Result<[u8; N], WireError> {
    let (bytes, rest) = message.split_first_chunk::<N>().ok_or(WireError::Cut)?;
    *message = rest;
    Ok(*bytes)
}

/// Reads a number of seven bits a byte from the front of `message`.
#[inline]
pub(crate) fn varint(message: &mut &[u8]) -> Result<u64, WireError> {
    // Lengths and tags are mostly one byte long.
    if let Some((first, rest)) = message.split_first()
        && *first < 0x80
    {
        *message = rest;
        return Ok(u64::from(*first));
    }
    let mut value = 0u64;
    for (at, byte) in message.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if *byte < 0x80 {
            *message = &message[at + 1..];
            return Ok(value);
        }
    }
    Err(if message.len() < 10 { WireError::Cut } else { WireError::Overflow })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[track_caller]
    fn check(mut message: &[u8], want: Result<Option<(u32, Value<'_>)>, WireError>) {
        assert_eq!(next_field(&mut message), want);
    }

    #[test]
    fn fields() {
        check(&[], Ok(None));
        check(&[0x08, 0x96, 0x01], Ok(Some((1, Value::Varint(150)))));
        check(&[0x12, 2, 7, 8], Ok(Some((2, Value::Bytes(&[7, 8])))));
        check(&[0x0d, 1, 0, 0, 0], Ok(Some((1, Value::Fixed32(1)))));
        let minus_one = [0x10, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1];
        check(&minus_one, Ok(Some((2, Value::Varint(u64::MAX)))));
        check(&[0x12, 3, 7, 8], Err(WireError::Cut));
        check(&[0x09, 1, 2], Err(WireError::Cut));
        check(&[0x80], Err(WireError::Cut));
        check(&[0xff; 11], Err(WireError::Overflow));
        check(&[0x0b], Err(WireError::WireType(3)));
        check(&[0x02], Err(WireError::FieldZero(2)));
    }
}

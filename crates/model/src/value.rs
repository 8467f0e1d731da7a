//! What a float sample's bits mean beyond IEEE 754.

/// The bits of the staleness marker: the series has ended at this sample's time.
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;
/// The bits of the NaN that calculations and parsers give (Go's `math.NaN`).
pub const NORMAL_NAN_BITS: u64 = 0x7ff8_0000_0000_0001;

/// The staleness marker as a float.
pub const STALE_NAN: f64 = f64::from_bits(STALE_NAN_BITS);
/// The ordinary NaN as a float.
pub const NORMAL_NAN: f64 = f64::from_bits(NORMAL_NAN_BITS);

/// True only for the staleness marker; other NaNs are values.
#[inline]
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}

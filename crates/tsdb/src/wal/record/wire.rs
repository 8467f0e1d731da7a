//! What records are made of: numbers, texts, labels, and the rows' refs and times.

use super::Malformed;
use storage::SeriesRef;

pub(super) fn put_labels<'l>(to: &mut Vec<u8>, labels: impl ExactSizeIterator<Item = (&'l str, &'l str)>) {
    put_uvarint(to, labels.len() as u64);
    for (name, value) in labels {
        put_text(to, name);
        put_text(to, value);
    }
}

pub(super) fn put_text(to: &mut Vec<u8>, text: &str) {
    put_uvarint(to, text.len() as u64);
    to.extend_from_slice(text.as_bytes());
}

pub(super) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

pub(super) fn put_varint(to: &mut Vec<u8>, value: i64) {
    put_uvarint(to, zigzag(value));
}

pub(super) fn put_uvarint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

/// Where a row of a record with start timestamps stands. Its ref is told by the row before, its time by the first row's.
#[derive(Clone, Copy, Debug)]
pub(super) struct FollowUp {
    pub series: SeriesRef,
    pub start: i64,
    pub time: i64,
}

/// What of the rows before the next one is needed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Starts {
    first_time: i64,
    first_start: i64,
    series: SeriesRef,
    start: i64,
}

/// The row has no start.
const NO_START: u8 = 0;
/// The row's start is that of the row before.
const SAME_START: u8 = 1;
/// The difference to the first row's start follows. Prometheus reads every other byte as this one.
const EXPLICIT_START: u8 = 2;

impl FollowUp {
    #[inline]
    pub(super) fn put(self, to: &mut Vec<u8>, kind: u8, starts: &mut Option<Starts>) {
        let Self { series, start, time } = self;
        match starts {
            None => {
                to.push(kind);
                put_varint(to, series.0 as i64);
                put_varint(to, time);
                put_varint(to, start);
                *starts = Some(Starts { first_time: time, first_start: start, series, start });
            }
            Some(before) => {
                put_varint(to, series.0.wrapping_sub(before.series.0) as i64);
                put_varint(to, time.wrapping_sub(before.first_time));
                if start == 0 {
                    to.push(NO_START);
                } else if start == before.start {
                    to.push(SAME_START);
                } else {
                    to.push(EXPLICIT_START);
                    put_varint(to, start.wrapping_sub(before.first_start));
                }
                (before.series, before.start) = (series, start);
            }
        }
    }

    #[inline]
    pub(super) fn read(rest: &mut Rest<'_>, starts: &mut Option<Starts>) -> Result<Self, Malformed> {
        match starts {
            None => {
                let series = SeriesRef(rest.varint("first ref")? as u64);
                let (time, start) = (rest.varint("first time")?, rest.varint("first start")?);
                *starts = Some(Starts { first_time: time, first_start: start, series, start });
                Ok(Self { series, start, time })
            }
            Some(before) => {
                let series = SeriesRef(before.series.0.wrapping_add(rest.varint("ref")? as u64));
                let time = before.first_time.wrapping_add(rest.varint("time")?);
                let start = match rest.u8("start")? {
                    NO_START => 0,
                    SAME_START => before.start,
                    _ => before.first_start.wrapping_add(rest.varint("start")?),
                };
                (before.series, before.start) = (series, start);
                Ok(Self { series, start, time })
            }
        }
    }
}

/// What of a record has not been read.
#[derive(Clone, Copy, Debug)]
pub struct Rest<'r>(&'r [u8]);

impl<'r> Rest<'r> {
    pub(super) fn of(record: &'r [u8], kind: u8) -> Result<Self, Malformed> {
        match record.split_first() {
            None => Err(Malformed::Empty),
            Some((found, rest)) if *found == kind => Ok(Self(rest)),
            Some((found, _)) => Err(Malformed::Kind(*found)),
        }
    }

    /// The bytes after a record's first one, whatever that was.
    pub(super) fn after_kind(bytes: &'r [u8]) -> Self {
        Self(bytes)
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// First ref and time of a record of samples; none if the record has no samples.
    pub(super) fn base(&mut self) -> Result<Option<(u64, i64)>, Malformed> {
        if self.is_empty() {
            return Ok(None);
        }
        Ok(Some((self.u64("first ref")?, self.u64("first time")? as i64)))
    }

    /// A row's ref, time and value.
    #[inline]
    pub(super) fn sample(&mut self, base: (u64, i64)) -> Result<(SeriesRef, i64, f64), Malformed> {
        if let Some((row, _)) = self.0.split_first_chunk::<ROW_LEN>()
            && let Some((series, series_len)) = short_uvarint(row, 0)
            && let Some((time, time_len)) = short_uvarint(row, series_len)
            && let Some(value) = word(row, series_len + time_len)
        {
            self.0 = &self.0[series_len + time_len + 8..];
            let series = base.0.wrapping_add(unzigzag(series) as u64);
            return Ok((SeriesRef(series), base.1.wrapping_add(unzigzag(time)), f64::from_bits(value.swap_bytes())));
        }
        let series = base.0.wrapping_add(self.varint("sample")? as u64);
        let time = base.1.wrapping_add(self.varint("sample")?);
        Ok((SeriesRef(series), time, f64::from_bits(self.u64("sample")?)))
    }

    pub(super) fn labels(&mut self, labels: &mut Vec<(&'r str, &'r str)>) -> Result<(), Malformed> {
        labels.clear();
        for _ in 0..self.uvarint("count of labels")? {
            let name = self.text("label name")?;
            labels.push((name, self.text("label value")?));
        }
        Ok(())
    }

    pub(super) fn text(&mut self, what: &'static str) -> Result<&'r str, Malformed> {
        let len = usize::try_from(self.uvarint(what)?).map_err(|_| Malformed::Short(what))?;
        let (text, rest) = self.0.split_at_checked(len).ok_or(Malformed::Short(what))?;
        self.0 = rest;
        std::str::from_utf8(text).map_err(|_| Malformed::Text(what))
    }

    /// Passes over a text, whatever its bytes.
    #[inline]
    pub(super) fn skip_text(&mut self, what: &'static str) -> Result<(), Malformed> {
        let len = usize::try_from(self.uvarint(what)?).map_err(|_| Malformed::Short(what))?;
        self.0 = self.0.get(len..).ok_or(Malformed::Short(what))?;
        Ok(())
    }

    /// Passes over these bytes, if they are next.
    #[inline]
    pub(super) fn skip(&mut self, bytes: &[u8]) -> bool {
        let rest = self.0.strip_prefix(bytes);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    /// The bytes up to where `later`, a copy that has been read on, stands.
    #[inline]
    pub(super) fn until(&self, later: &Self) -> &'r [u8] {
        &self.0[..self.0.len() - later.0.len()]
    }

    pub(super) fn u8(&mut self, what: &'static str) -> Result<u8, Malformed> {
        let (byte, rest) = self.0.split_first().ok_or(Malformed::Short(what))?;
        self.0 = rest;
        Ok(*byte)
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64, Malformed> {
        let (bytes, rest) = self.0.split_first_chunk::<8>().ok_or(Malformed::Short(what))?;
        self.0 = rest;
        Ok(u64::from_be_bytes(*bytes))
    }

    pub(super) fn varint(&mut self, what: &'static str) -> Result<i64, Malformed> {
        self.uvarint(what).map(unzigzag)
    }

    pub(super) fn uvarint(&mut self, what: &'static str) -> Result<u64, Malformed> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8(what)?;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed::Number(what))
    }

    /// How many items follow, each of at least `item_len` bytes: no more than the record has bytes for.
    pub(super) fn count(&mut self, item_len: usize, what: &'static str) -> Result<usize, Malformed> {
        let count = usize::try_from(self.uvarint(what)?).map_err(|_| Malformed::Short(what))?;
        if count > self.0.len() / item_len { Err(Malformed::Short(what)) } else { Ok(count) }
    }

    pub(super) fn f64(&mut self, what: &'static str) -> Result<f64, Malformed> {
        self.u64(what).map(f64::from_bits)
    }
}

/// More than the short form of a row of samples has: two uvarints of four bytes and a value.
const ROW_LEN: usize = 16;

/// Eight bytes from `at` on, the first one lowest.
#[inline]
fn word(row: &[u8; ROW_LEN], at: usize) -> Option<u64> {
    row.get(at..)?.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes))
}

/// A uvarint of at most four bytes, and how many it has. The lengths are told by jumps, which the processor foretells from the
/// rows before: arithmetic that tells them would make each row wait for the end of the one before.
#[inline]
fn short_uvarint(row: &[u8; ROW_LEN], at: usize) -> Option<(u64, usize)> {
    let [b0, b1, b2, b3] = *row.get(at..)?.first_chunk::<4>()?;
    let low = |byte: u8, place: u32| u64::from(byte & 0x7f) << (7 * place);
    if b0 < 0x80 {
        Some((u64::from(b0), 1))
    } else if b1 < 0x80 {
        Some((low(b0, 0) | low(b1, 1), 2))
    } else if b2 < 0x80 {
        Some((low(b0, 0) | low(b1, 1) | low(b2, 2), 3))
    } else if b3 < 0x80 {
        Some((low(b0, 0) | low(b1, 1) | low(b2, 2) | low(b3, 3), 4))
    } else {
        None
    }
}

fn unzigzag(zigzag: u64) -> i64 {
    (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64)
}

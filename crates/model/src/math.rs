//! Functions of numbers with the very bits of Go's package `math` on amd64.
//!
//! A last bit is enough to change an answer (`x ^ y % 100`, `floor`, `count_values`), so for what PromQL computes the
//! platform's functions will not do. Where Go has assembly for amd64 (`Exp`, `Log`) it is followed step by step, with the
//! fused operations that it uses where the processor has them; the rest is plain arithmetic in Go's order. What Go computes
//! exactly (`Sqrt`, `Floor`, `Mod` …) is the standard library's.
//!
//! Written after Go's sources; their license is in `math/LICENSE`.

#![allow(clippy::excessive_precision, reason = "digits as they stand in the sources")]

mod arc;
mod hyperbolic;
mod trigonometric;

use crate::value::NORMAL_NAN;
use std::f64::consts::{FRAC_1_SQRT_2, LOG2_E, LOG10_E};

pub use arc::{acos, asin, atan, atan2};
pub use hyperbolic::{acosh, asinh, atanh, cosh, sinh, tanh};
pub use trigonometric::{cos, sin, tan};

const MANTISSA_BITS: u32 = 52;
const MANTISSA: u64 = (1 << MANTISSA_BITS) - 1;
const EXPONENT: u64 = 0x7ff;
const BIAS: i64 = 1023;
/// 2⁵²
const NORMALIZING: f64 = (1u64 << MANTISSA_BITS) as f64;

/// The high and the low part of ln 2.
const LN2_HIGH: f64 = 6.931_471_803_691_238_164_90e-1;
const LN2_LOW: f64 = 1.908_214_929_270_587_700_02e-10;
/// Coefficients of ln((1 + s) / (1 - s)).
const LN: [f64; 7] = [
    6.666_666_666_666_735_130e-1,
    3.999_999_999_940_941_908e-1,
    2.857_142_874_366_239_149e-1,
    2.222_219_843_214_978_396e-1,
    1.818_357_216_161_805_012e-1,
    1.531_383_769_920_937_332e-1,
    1.479_819_860_511_658_591e-1,
];

/// `eˣ`
pub fn exp(x: f64) -> f64 {
    const OVERFLOW: f64 = 7.097_827_128_933_84e2;
    const LN2_UPPER: f64 = 0.693_147_180_559_662_956_511_601_805_686_950_683_593_75;
    const LN2_LOWER: f64 = 0.282_352_905_630_315_771_225_884_481_750_134_360_255_254_120_68e-12;
    const TAYLOR: [f64; 8] = [
        2.480_158_730_158_730_158_7e-5,
        1.984_126_984_126_984_127_0e-4,
        1.388_888_888_888_888_888_9e-3,
        8.333_333_333_333_333_333_3e-3,
        4.166_666_666_666_666_666_7e-2,
        1.666_666_666_666_666_666_7e-1,
        0.5,
        1.0,
    ];
    if x.is_nan() {
        return x;
    }
    if x > OVERFLOW {
        return f64::INFINITY;
    }
    if x == f64::NEG_INFINITY {
        return 0.0;
    }
    // Saturates where the processor's conversion gives its least number, too; both are far below what underflows.
    let exponent = (LOG2_E * x).round_ties_even() as i32;
    let k = f64::from(exponent);
    let r = (-k).mul_add(LN2_LOWER, (-k).mul_add(LN2_UPPER, x)) * 0.0625;
    let series = TAYLOR[1..].iter().fold(TAYLOR[0], |sum, coefficient| r.mul_add(sum, *coefficient));
    // (e^r - 1)(e^r + 1) = e^2r - 1, four times.
    let mut y = r * series;
    for _ in 0..3 {
        y *= y + 2.0;
    }
    y = (y + 2.0).mul_add(y, 1.0);
    let biased = i64::from(exponent) + BIAS;
    match biased {
        ..-52 => 0.0,
        -52..=0 => y * f64::from_bits(((biased + BIAS - 1) as u64) << MANTISSA_BITS) * f64::MIN_POSITIVE,
        1..0x7ff => y * f64::from_bits((biased as u64) << MANTISSA_BITS),
        _ => f64::INFINITY,
    }
}

/// `2ˣ`
pub fn exp2(x: f64) -> f64 {
    const OVERFLOW: f64 = 1.023_999_999_999_999_9e3;
    const UNDERFLOW: f64 = -1.0740e3;
    const P: [f64; 5] = [
        1.666_666_666_666_666_574_15e-1,
        -2.777_777_777_701_559_338_42e-3,
        6.613_756_321_437_934_361_17e-5,
        -1.653_390_220_546_525_153_90e-6,
        4.138_136_797_057_238_460_39e-8,
    ];
    if x.is_nan() {
        return x;
    }
    if x > OVERFLOW {
        return f64::INFINITY;
    }
    if x < UNDERFLOW {
        return 0.0;
    }
    let k = if x > 0.0 { (x + 0.5) as i64 } else { (x - 0.5) as i64 };
    let t = x - k as f64;
    let (high, low) = (t * LN2_HIGH, -t * LN2_LOW);
    let r = high - low;
    let t = r * r;
    let c = r - t * (P[0] + t * (P[1] + t * (P[2] + t * (P[3] + t * P[4]))));
    let y = 1.0 - ((low - (r * c) / (2.0 - c)) - high);
    scale(y, k)
}

/// The natural logarithm.
pub fn ln(x: f64) -> f64 {
    if x == 0.0 {
        return f64::NEG_INFINITY;
    }
    if x.is_sign_negative() {
        return NORMAL_NAN;
    }
    if !x.is_finite() {
        return x;
    }
    // As in Go's assembly, which takes the bits of a subnormal number as they are.
    let mut fraction = f64::from_bits(x.to_bits() & MANTISSA | 0.5f64.to_bits());
    let mut k = ((x.to_bits() >> MANTISSA_BITS & EXPONENT) as i64 - (BIAS - 1)) as f64;
    if fraction <= FRAC_1_SQRT_2 {
        k -= 1.0;
        fraction *= 2.0;
    }
    let f = fraction - 1.0;
    let s = f / (2.0 + f);
    let s2 = s * s;
    let s4 = s2 * s2;
    let t1 = s2 * (LN[0] + s4 * (LN[2] + s4 * (LN[4] + s4 * LN[6])));
    let t2 = s4 * (LN[1] + s4 * (LN[3] + s4 * LN[5]));
    let rest = t1 + t2;
    let half = 0.5 * f * f;
    k * LN2_HIGH - ((half - (s * (half + rest) + k * LN2_LOW)) - f)
}

/// `ln(1 + x)`
fn ln_1p(x: f64) -> f64 {
    const SQRT2_M1: f64 = 4.142_135_623_730_950_488_017e-1;
    const SQRT2_HALF_M1: f64 = -2.928_932_188_134_524_755_992e-1;
    const SMALL: f64 = 1.0 / (1u64 << 29) as f64;
    const TINY: f64 = 1.0 / (1u64 << 54) as f64;
    const TWO53: f64 = (1u64 << 53) as f64;
    const SQRT2_MANTISSA: u64 = 0x0006_a09e_667f_3bcd;
    if x < -1.0 || x.is_nan() {
        return NORMAL_NAN;
    }
    if x == -1.0 {
        return f64::NEG_INFINITY;
    }
    if x == f64::INFINITY {
        return x;
    }
    let size = x.abs();
    if size < SMALL {
        return if size < TINY { x } else { x - x * x * 0.5 };
    }
    let (mut k, mut f, mut bits, mut c) = (0, x, 1, 0.0);
    if !(size < SQRT2_M1 && x > SQRT2_HALF_M1) {
        let mut u = x;
        if size < TWO53 {
            u = 1.0 + x;
            k = (u.to_bits() >> MANTISSA_BITS) as i64 - BIAS;
            c = if k > 0 { 1.0 - (u - x) } else { x - (u - 1.0) } / u;
        } else {
            k = (u.to_bits() >> MANTISSA_BITS) as i64 - BIAS;
        }
        bits = u.to_bits() & MANTISSA;
        if bits < SQRT2_MANTISSA {
            u = f64::from_bits(bits | 1.0f64.to_bits());
        } else {
            k += 1;
            u = f64::from_bits(bits | 0.5f64.to_bits());
            bits = ((1 << MANTISSA_BITS) - bits) >> 2;
        }
        f = u - 1.0;
    }
    let k_number = k as f64;
    let half = 0.5 * f * f;
    if bits == 0 {
        if f == 0.0 {
            return if k == 0 { 0.0 } else { k_number * LN2_HIGH + (c + k_number * LN2_LOW) };
        }
        let rest = half * (1.0 - 0.666_666_666_666_666_66 * f);
        return if k == 0 { f - rest } else { k_number * LN2_HIGH - ((rest - (k_number * LN2_LOW + c)) - f) };
    }
    let s = f / (2.0 + f);
    let z = s * s;
    let rest = z * (LN[0] + z * (LN[1] + z * (LN[2] + z * (LN[3] + z * (LN[4] + z * (LN[5] + z * LN[6]))))));
    if k == 0 {
        return f - (half - s * (half + rest));
    }
    k_number * LN2_HIGH - ((half - (s * (half + rest) + (k_number * LN2_LOW + c))) - f)
}

/// The logarithm to base 2, exact for powers of 2.
pub fn log2(x: f64) -> f64 {
    let (fraction, exponent) = split(x);
    if fraction == 0.5 {
        return (exponent - 1) as f64;
    }
    ln(fraction) * LOG2_E + exponent as f64
}

/// The logarithm to base 10.
pub fn log10(x: f64) -> f64 {
    ln(x) * LOG10_E
}

/// `xʸ`
pub fn pow(x: f64, y: f64) -> f64 {
    if let Some(special) = special_pow(x, y) {
        return special;
    }
    let (mut whole, mut part) = (y.abs().trunc(), y.abs().fract());
    if part != 0.0 && x < 0.0 {
        return NORMAL_NAN;
    }
    if whole >= (1u64 << 63) as f64 {
        // An even number that takes all but -1 out of range.
        return match x {
            -1.0 => 1.0,
            _ if (x.abs() < 1.0) == (y > 0.0) => 0.0,
            _ => f64::INFINITY,
        };
    }
    // The result is product · 2^exponent.
    let (mut product, mut exponent) = (1.0, 0);
    if part != 0.0 {
        if part > 0.5 {
            part -= 1.0;
            whole += 1.0;
        }
        product = exp(part * ln(x));
    }
    let (mut square, mut square_exponent) = split(x);
    let mut bits = whole as i64;
    while bits != 0 {
        if !(-(1 << 12)..=1 << 12).contains(&square_exponent) {
            // Out of range in any case; the exponent must not overflow itself.
            exponent += square_exponent;
            break;
        }
        if bits & 1 == 1 {
            product *= square;
            exponent += square_exponent;
        }
        square *= square;
        square_exponent <<= 1;
        if square < 0.5 {
            square += square;
            square_exponent -= 1;
        }
        bits >>= 1;
    }
    if y < 0.0 {
        product = 1.0 / product;
        exponent = -exponent;
    }
    scale(product, exponent)
}

fn special_pow(x: f64, y: f64) -> Option<f64> {
    Some(if y == 0.0 || x == 1.0 {
        1.0
    } else if y == 1.0 {
        x
    } else if x.is_nan() || y.is_nan() {
        NORMAL_NAN
    } else if x == 0.0 {
        let odd_negative = x.is_sign_negative() && is_odd(y);
        match (y < 0.0, odd_negative) {
            (true, true) => f64::NEG_INFINITY,
            (true, false) => f64::INFINITY,
            (false, true) => x,
            (false, false) => 0.0,
        }
    } else if y.is_infinite() {
        match x {
            -1.0 => 1.0,
            _ if (x.abs() < 1.0) == (y > 0.0) => 0.0,
            _ => f64::INFINITY,
        }
    } else if x == f64::NEG_INFINITY {
        return special_pow(1.0 / x, -y);
    } else if x == f64::INFINITY {
        if y < 0.0 { 0.0 } else { f64::INFINITY }
    } else if y == 0.5 {
        x.sqrt()
    } else if y == -0.5 {
        1.0 / x.sqrt()
    } else {
        return None;
    })
}

fn is_odd(x: f64) -> bool {
    x.abs() < (1u64 << 53) as f64 && x.fract() == 0.0 && x as i64 & 1 == 1
}

/// A fraction in [0.5, 1) and the power of 2 that it is to be multiplied by. Zeros and what is not finite stay.
fn split(x: f64) -> (f64, i64) {
    if x == 0.0 || !x.is_finite() {
        return (x, 0);
    }
    let (x, shifted) = normalize(x);
    let bits = x.to_bits();
    let exponent = (bits >> MANTISSA_BITS & EXPONENT) as i64 - BIAS + 1 + shifted;
    (f64::from_bits(bits & !(EXPONENT << MANTISSA_BITS) | 0.5f64.to_bits()), exponent)
}

/// `fraction · 2^exponent`
fn scale(fraction: f64, exponent: i64) -> f64 {
    if fraction == 0.0 || !fraction.is_finite() {
        return fraction;
    }
    let (normal, shifted) = normalize(fraction);
    let bits = normal.to_bits();
    let mut exponent = exponent.saturating_add(shifted) + (bits >> MANTISSA_BITS & EXPONENT) as i64 - BIAS;
    if exponent < -1075 {
        return 0f64.copysign(fraction);
    }
    if exponent > BIAS {
        return f64::INFINITY.copysign(fraction);
    }
    let mut denormal = 1.0;
    if exponent < -1022 {
        exponent += 53;
        denormal = 1.0 / (1u64 << 53) as f64;
    }
    denormal * f64::from_bits(bits & !(EXPONENT << MANTISSA_BITS) | ((exponent + BIAS) as u64) << MANTISSA_BITS)
}

/// A number that is not subnormal and the power of 2 that makes `x` of it.
fn normalize(x: f64) -> (f64, i64) {
    if x.abs() < f64::MIN_POSITIVE { (x * NORMALIZING, -i64::from(MANTISSA_BITS)) } else { (x, 0) }
}

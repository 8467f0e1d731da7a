//! Hyperbolic functions and their inverses.

use super::{exp, ln, ln_1p};
use crate::value::NORMAL_NAN;
use std::f64::consts::LN_2;

/// Beyond this the smaller of the two exponentials no longer counts.
const LARGE: f64 = 21.0;
/// 2²⁸: beyond it 1 no longer counts beside the square, below its inverse the cube beside the number.
const SQUARES_ALONE: f64 = (1u64 << 28) as f64;

/// Hyperbolic sine.
pub fn sinh(x: f64) -> f64 {
    const P: [f64; 4] = [
        -0.630_767_364_049_771_699_118_478_722_5e+6,
        -0.899_127_202_203_950_935_539_801_351_1e+5,
        -0.289_421_135_598_956_380_728_466_036_6e+4,
        -0.263_056_321_339_749_706_281_948_9e+2,
    ];
    const Q: [f64; 3] = [
        -0.630_767_364_049_771_699_121_207_727_7e+6,
        0.152_151_737_879_001_907_069_648_517_6e+5,
        -0.173_678_953_558_233_699_533_450_911e+3,
    ];
    let size = magnitude(x);
    let value = if size > LARGE {
        exp(size) * 0.5
    } else if size > 0.5 {
        let e = exp(size);
        (e - 1.0 / e) * 0.5
    } else {
        let square = size * size;
        let above = (((P[3] * square + P[2]) * square + P[1]) * square + P[0]) * size;
        above / (((square + Q[2]) * square + Q[1]) * square + Q[0])
    };
    if x < 0.0 { -value } else { value }
}

/// Hyperbolic cosine.
pub fn cosh(x: f64) -> f64 {
    let size = x.abs();
    let e = exp(size);
    if size > LARGE { e * 0.5 } else { (e + 1.0 / e) * 0.5 }
}

/// Hyperbolic tangent.
pub fn tanh(x: f64) -> f64 {
    /// Half of ln 2¹²⁷.
    const ONE_FROM: f64 = 0.5 * 8.802_969_193_111_305_429_598_8e1;
    const P: [f64; 3] = [-9.643_991_794_250_522_386_28e-1, -9.928_772_310_019_185_865_64e1, -1.614_687_684_417_084_479_52e3];
    const Q: [f64; 3] = [1.128_116_784_916_329_314_02e2, 2.235_488_390_601_004_485_83e3, 4.844_063_053_251_254_860_48e3];
    let size = x.abs();
    if size > ONE_FROM {
        return 1f64.copysign(x);
    }
    if size >= 0.625 {
        let e = exp(2.0 * size);
        let value = 1.0 - 2.0 / (e + 1.0);
        return if x < 0.0 { -value } else { value };
    }
    if x == 0.0 {
        return x;
    }
    let s = x * x;
    x + x * s * ((P[0] * s + P[1]) * s + P[2]) / (((s + Q[0]) * s + Q[1]) * s + Q[2])
}

/// The inverse of [`sinh`].
pub fn asinh(x: f64) -> f64 {
    if !x.is_finite() {
        return x;
    }
    let size = magnitude(x);
    let value = if size > SQUARES_ALONE {
        ln(size) + LN_2
    } else if size > 2.0 {
        ln(2.0 * size + 1.0 / ((size * size + 1.0).sqrt() + size))
    } else if size < 1.0 / SQUARES_ALONE {
        size
    } else {
        ln_1p(size + size * size / (1.0 + (1.0 + size * size).sqrt()))
    };
    if x < 0.0 { -value } else { value }
}

/// The inverse of [`cosh`]; NaN below 1.
pub fn acosh(x: f64) -> f64 {
    if x < 1.0 || x.is_nan() {
        NORMAL_NAN
    } else if x == 1.0 {
        0.0
    } else if x >= SQUARES_ALONE {
        ln(x) + LN_2
    } else if x > 2.0 {
        ln(2.0 * x - 1.0 / (x + (x * x - 1.0).sqrt()))
    } else {
        let t = x - 1.0;
        ln_1p(t + (2.0 * t + t * t).sqrt())
    }
}

/// The inverse of [`tanh`]; NaN beyond ±1.
pub fn atanh(x: f64) -> f64 {
    let size = magnitude(x);
    if size > 1.0 || x.is_nan() {
        return NORMAL_NAN;
    }
    if size == 1.0 {
        return f64::INFINITY.copysign(x);
    }
    let value = if size < 1.0 / SQUARES_ALONE {
        size
    } else if size < 0.5 {
        let double = size + size;
        0.5 * ln_1p(double + double * size / (1.0 - size))
    } else {
        0.5 * ln_1p((size + size) / (1.0 - size))
    };
    if x < 0.0 { -value } else { value }
}

/// The absolute value, but -0 stays.
fn magnitude(x: f64) -> f64 {
    if x < 0.0 { -x } else { x }
}

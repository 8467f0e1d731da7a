//! Functions of angles in radians.

use super::{BIAS, EXPONENT, MANTISSA_BITS};
use crate::value::NORMAL_NAN;
use std::f64::consts::{FRAC_2_PI, FRAC_PI_4};

const SIN: [f64; 6] = [
    1.589_623_015_765_465_680_60e-10,
    -2.505_074_776_285_780_728_66e-8,
    2.755_731_362_138_572_452_13e-6,
    -1.984_126_982_958_953_859_96e-4,
    8.333_333_333_322_118_588_78e-3,
    -1.666_666_666_666_663_072_95e-1,
];
const COS: [f64; 6] = [
    -1.135_853_652_138_768_173_00e-11,
    2.087_570_084_197_473_167_78e-9,
    -2.755_731_417_929_673_881_12e-7,
    2.480_158_728_885_170_453_48e-5,
    -1.388_888_888_887_305_641_16e-3,
    4.166_666_666_666_659_292_18e-2,
];

/// Sine.
pub fn sin(x: f64) -> f64 {
    if x == 0.0 || x.is_nan() {
        return x;
    }
    if x.is_infinite() {
        return NORMAL_NAN;
    }
    let (octant, z) = reduce(x.abs());
    let value = if matches!(octant & 3, 1 | 2) { near_cos(z) } else { near_sin(z) };
    if (x < 0.0) != (octant > 3) { -value } else { value }
}

/// Cosine.
pub fn cos(x: f64) -> f64 {
    if !x.is_finite() {
        return NORMAL_NAN;
    }
    let (octant, z) = reduce(x.abs());
    let value = if matches!(octant & 3, 1 | 2) { near_sin(z) } else { near_cos(z) };
    if (octant > 3) != (octant & 3 > 1) { -value } else { value }
}

/// Tangent.
pub fn tan(x: f64) -> f64 {
    const P: [f64; 3] = [-1.309_369_391_813_837_776_46e4, 1.153_516_648_385_874_161_40e6, -1.795_652_519_764_848_779_88e7];
    const Q: [f64; 4] =
        [1.368_129_634_706_929_546_78e4, -1.320_892_344_402_109_674_47e6, 2.500_838_018_233_579_158_39e7, -5.386_957_559_294_546_298_81e7];
    if x == 0.0 || x.is_nan() {
        return x;
    }
    if x.is_infinite() {
        return NORMAL_NAN;
    }
    let (octant, z) = reduce(x.abs());
    let zz = z * z;
    let mut value = z;
    if zz > 1e-14 {
        let above = zz * (((P[0] * zz) + P[1]) * zz + P[2]);
        value = z + z * (above / ((((zz + Q[0]) * zz + Q[1]) * zz + Q[2]) * zz + Q[3]));
    }
    if octant & 2 == 2 {
        value = -1.0 / value;
    }
    if x < 0.0 { -value } else { value }
}

fn near_sin(z: f64) -> f64 {
    let zz = z * z;
    z + z * zz * ((((((SIN[0] * zz) + SIN[1]) * zz + SIN[2]) * zz + SIN[3]) * zz + SIN[4]) * zz + SIN[5])
}

fn near_cos(z: f64) -> f64 {
    let zz = z * z;
    1.0 - 0.5 * zz + zz * zz * ((((((COS[0] * zz) + COS[1]) * zz + COS[2]) * zz + COS[3]) * zz + COS[4]) * zz + COS[5])
}

/// The number of the eighth of a circle, made even, and the angle from it, at most π/4 either way.
fn reduce(x: f64) -> (u64, f64) {
    /// Above this the number of eighths is too large for three parts of π/4.
    const LARGE: f64 = (1u64 << 29) as f64;
    /// π/4 in three parts.
    const PI_4: [f64; 3] = [7.853_981_256_484_985_351_56e-1, 3.774_894_707_930_798_176_68e-8, 2.695_151_429_079_059_526_45e-15];
    if x >= LARGE {
        return reduce_large(x);
    }
    let mut octant = (x * (2.0 * FRAC_2_PI)) as u64;
    octant += octant & 1;
    let y = octant as f64;
    (octant & 7, ((x - y * PI_4[0]) - y * PI_4[1]) - y * PI_4[2])
}

/// By Payne and Hanek: the product with as many bits of 4/π as it takes.
fn reduce_large(x: f64) -> (u64, f64) {
    let exponent = (x.to_bits() >> MANTISSA_BITS & EXPONENT) as i64 - BIAS - i64::from(MANTISSA_BITS);
    let mantissa = x.to_bits() & !(EXPONENT << MANTISSA_BITS) | 1 << MANTISSA_BITS;
    // Between 38 and 1032, as x is at least 2^29 and finite.
    let bit = (exponent + 61) as usize;
    let (digit, shift) = (bit / 64, bit % 64);
    let part = |at: usize| ((u128::from(FOUR_BY_PI[at]) << 64 | u128::from(FOUR_BY_PI[at + 1])) << shift >> 64) as u64;
    let wide = |number: u64| u128::from(number) * u128::from(mantissa);
    let product = (wide(part(digit)) << 64).wrapping_add(wide(part(digit + 1))).wrapping_add(wide(part(digit + 2)) >> 64);
    let (high, low) = ((product >> 64) as u64, product as u64);
    let mut octant = high >> 61;
    let fraction = high << 3 | low >> 61;
    let zeros = fraction.leading_zeros();
    // Go takes the first bits of `low` again here, not those behind the three above.
    let behind = low.checked_shr(63u32.wrapping_sub(zeros)).unwrap_or(0);
    let mantissa = (fraction.checked_shl(zeros + 1).unwrap_or(0) | behind) >> (64 - MANTISSA_BITS);
    let mut z = f64::from_bits(((BIAS - i64::from(zeros) - 1) as u64) << MANTISSA_BITS | mantissa);
    if octant & 1 == 1 {
        octant = (octant + 1) & 7;
        z -= 1.0;
    }
    (octant, z * FRAC_PI_4)
}

/// The binary digits of 4/π.
const FOUR_BY_PI: [u64; 20] = [
    0x0000_0000_0000_0001,
    0x45f3_06dc_9c88_2a53,
    0xf84e_afa3_ea69_bb81,
    0xb6c5_2b32_7887_2083,
    0xfca2_c757_bd77_8ac3,
    0x6e48_dc74_849b_a5c0,
    0x0c92_5dd4_13a3_2439,
    0xfc3b_d639_6253_4e7d,
    0xd104_6bea_5d76_8909,
    0xd338_e04d_68be_fc82,
    0x7323_ac73_06a6_73e9,
    0x3908_bf17_7bf2_5076,
    0x3ff1_2fff_bc0b_301f,
    0xde5e_2316_b414_da3e,
    0xda6c_fd9e_4f96_136e,
    0x9e8c_7ecd_3cbf_d45a,
    0xea4f_758f_d7cb_e2f6,
    0x7a0e_73ef_14a5_25d4,
    0xd7f6_bf62_3f1a_ba10,
    0xac06_608d_f8f6_d757,
];

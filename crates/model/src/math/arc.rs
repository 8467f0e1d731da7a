//! The inverse functions of angles, by the arc tangent.

use crate::value::NORMAL_NAN;
use std::f64::consts::{FRAC_PI_2, FRAC_PI_4, PI};

/// In radians.
pub fn asin(x: f64) -> f64 {
    if x == 0.0 {
        return x;
    }
    let size = x.abs();
    if size > 1.0 {
        return NORMAL_NAN;
    }
    let root = (1.0 - size * size).sqrt();
    let angle = if size > 0.7 { FRAC_PI_2 - of_positive(root / size) } else { of_positive(size / root) };
    if x < 0.0 { -angle } else { angle }
}

/// In radians.
pub fn acos(x: f64) -> f64 {
    FRAC_PI_2 - asin(x)
}

/// In radians.
pub fn atan(x: f64) -> f64 {
    match x {
        0.0 => x,
        _ if x > 0.0 => of_positive(x),
        _ => -of_positive(-x),
    }
}

/// The angle of the point (`x`, `y`), in radians.
pub fn atan2(y: f64, x: f64) -> f64 {
    if x.is_nan() || y.is_nan() {
        return NORMAL_NAN;
    }
    if y == 0.0 {
        return if x.is_sign_positive() { 0.0 } else { PI }.copysign(y);
    }
    if x == 0.0 {
        return FRAC_PI_2.copysign(y);
    }
    if x.is_infinite() {
        let angle = match (x > 0.0, y.is_infinite()) {
            (true, true) => FRAC_PI_4,
            (true, false) => 0.0,
            (false, true) => 3.0 * FRAC_PI_4,
            (false, false) => PI,
        };
        return angle.copysign(y);
    }
    if y.is_infinite() {
        return FRAC_PI_2.copysign(y);
    }
    let angle = atan(y / x);
    match (x < 0.0, angle <= 0.0) {
        (false, _) => angle,
        (true, true) => angle + PI,
        (true, false) => angle - PI,
    }
}

fn of_positive(x: f64) -> f64 {
    /// What π/2 as a number lacks.
    const MORE_BITS: f64 = 6.123_233_995_736_765_886_130e-17;
    const TAN_3_PI_8: f64 = 2.414_213_562_373_095_048_80;
    if x <= 0.66 {
        return reduced(x);
    }
    if x > TAN_3_PI_8 {
        return FRAC_PI_2 - reduced(1.0 / x) + MORE_BITS;
    }
    FRAC_PI_4 + reduced((x - 1.0) / (x + 1.0)) + 0.5 * MORE_BITS
}

/// The arc tangent of at most 0.66.
fn reduced(x: f64) -> f64 {
    const P: [f64; 5] = [
        -8.750_608_600_031_904_122_785e-1,
        -1.615_753_718_733_365_076_637e1,
        -7.500_855_792_314_704_667_340e1,
        -1.228_866_684_490_136_173_410e2,
        -6.485_021_904_942_025_371_773e1,
    ];
    const Q: [f64; 5] = [
        2.485_846_490_142_306_297_962e1,
        1.650_270_098_316_988_542_046e2,
        4.328_810_604_912_902_668_951e2,
        4.853_903_996_359_136_964_868e2,
        1.945_506_571_482_613_964_425e2,
    ];
    let z = x * x;
    let z = z * ((((P[0] * z + P[1]) * z + P[2]) * z + P[3]) * z + P[4]) / (((((z + Q[0]) * z + Q[1]) * z + Q[2]) * z + Q[3]) * z + Q[4]);
    x * z + x
}

//! The functions against Go 1.26 on amd64, bit by bit: each has the checksum that a Go program gives for the same numbers.
#![allow(clippy::unwrap_used, reason = "tests")]

use model::math;

/// The numbers that the functions are asked for: of all sizes, more of them near 1. Xorshift, so that the same lines in Go
/// give the same numbers.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn number(&mut self) -> f64 {
        let around_0 = |bits: u64, width: f64| ((bits >> 11) as f64 / (1u64 << 53) as f64 - 0.5) * width;
        match self.next() % 8 {
            0 => f64::from_bits(self.next()),
            1 => (self.next() >> 52) as f64 - 2048.0,
            2 => around_0(self.next(), 1500.0),
            3 => around_0(self.next(), 1e10),
            _ => around_0(self.next(), 6.0),
        }
    }
}

/// FNV-1a over the bits of 100,000 results, all NaNs alike.
fn checksum(mut f: impl FnMut(&mut Numbers) -> f64) -> u64 {
    let mut numbers = Numbers(1);
    (0..100_000).fold(14_695_981_039_346_656_037, |sum: u64, _| {
        let value = f(&mut numbers);
        let bits = if value.is_nan() { 0x7ff8_0000_0000_0001 } else { value.to_bits() };
        (sum ^ bits).wrapping_mul(1_099_511_628_211)
    })
}

type OfOne = fn(f64) -> f64;
type OfTwo = fn(f64, f64) -> f64;

#[test]
fn bits_are_those_of_go() {
    let functions: [(&str, OfOne, u64); 17] = [
        ("acos", math::acos, 0x9ce2_0493_d3d4_b17d),
        ("acosh", math::acosh, 0xedc2_9da6_0121_46b7),
        ("asin", math::asin, 0x34fa_9714_2d5e_d321),
        ("asinh", math::asinh, 0x3fdc_e8e0_4642_caf3),
        ("atan", math::atan, 0x0304_765e_c31e_9cad),
        ("atanh", math::atanh, 0xb534_caa8_1c02_1bf4),
        ("cos", math::cos, 0x2368_6cb4_d534_f548),
        ("cosh", math::cosh, 0x2e57_00d2_9265_0951),
        ("exp", math::exp, 0xdea4_3448_0902_45cb),
        ("exp2", math::exp2, 0x68b8_bb58_bcf1_fe49),
        ("ln", math::ln, 0x0a50_7d4a_5ce0_133a),
        ("log10", math::log10, 0x952f_38ea_863c_6eed),
        ("log2", math::log2, 0x3112_e8a5_f28a_8676),
        ("sin", math::sin, 0x669c_d111_6db1_7e94),
        ("sinh", math::sinh, 0x4d67_45e9_e5b8_8784),
        ("tan", math::tan, 0xb397_91f9_f661_45fa),
        ("tanh", math::tanh, 0x348f_ece6_53b7_5d2c),
    ];
    for (name, f, want) in functions {
        assert_eq!(checksum(|numbers| f(numbers.number())), want, "{name}");
    }
    let of_two: [(&str, OfTwo, u64); 2] = [("pow", math::pow, 0xd0c1_46d3_0910_1cd9), ("atan2", math::atan2, 0xc072_dd72_f950_c2f1)];
    for (name, f, want) in of_two {
        let both = |numbers: &mut Numbers| {
            let x = numbers.number();
            f(x, numbers.number())
        };
        assert_eq!(checksum(both), want, "{name}");
    }
}

/// Zeros, signs and what is not finite, as the C library has them.
#[test]
fn special_numbers() {
    let special = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0, 1e300, -1e300, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
    let same = |got: f64, want: f64| {
        got.is_nan() && want.is_nan()
            || got == want && (got != 0.0 || got.is_sign_negative() == want.is_sign_negative())
            || (got - want).abs() <= 1e-15 * want.abs()
    };
    for x in special {
        for (name, got, want) in [
            ("atan", math::atan(x), x.atan()),
            ("asinh", math::asinh(x), x.asinh()),
            ("atanh", math::atanh(x), x.atanh()),
            ("cosh", math::cosh(x), x.cosh()),
            ("exp", math::exp(x), x.exp()),
            ("exp2", math::exp2(x), x.exp2()),
            ("ln", math::ln(x), x.ln()),
            ("log2", math::log2(x), x.log2()),
            ("sin", math::sin(x), x.sin()),
            ("sinh", math::sinh(x), x.sinh()),
            ("tan", math::tan(x), x.tan()),
            ("tanh", math::tanh(x), x.tanh()),
        ] {
            assert!(same(got, want), "{name}({x}): {got}, not {want}");
        }
        for y in special {
            assert!(same(math::pow(x, y), x.powf(y)), "{x} ^ {y}: {}, not {}", math::pow(x, y), x.powf(y));
            assert!(same(math::atan2(x, y), x.atan2(y)), "{x} atan2 {y}: {}, not {}", math::atan2(x, y), x.atan2(y));
        }
    }
}

//! Sums that no rounding touches.
//!
//! Whole numbers are most of what is stored. Where all their sums are exact, any order of additions has the same bits, with no
//! rounding for the compensation to catch: they are added up several at a time, and windows from prefix sums.

/// Whether all values are whole and all their sums exact. `-0` is left out, its sums have signs.
#[multiversion::multiversion(targets("x86_64+avx2"))]
fn are_whole(values: &[f64]) -> bool {
    /// Below it whole numbers have all bits.
    const EXACT: f64 = (1u64 << 53) as f64;
    /// What is added to it is rounded to a whole number.
    const ROUNDING: f64 = 1.5 * (1u64 << 52) as f64;
    let mut magnitudes = [0.0; 8];
    for some in values.chunks(256) {
        let mut differences = [0; 8];
        let (eights, rest) = some.as_chunks::<8>();
        let mut look = |lane: usize, value: f64| {
            differences[lane] |= ((value + ROUNDING) - ROUNDING).to_bits() ^ value.to_bits();
            magnitudes[lane] += value.abs();
        };
        for eight in eights {
            (0..8).for_each(|lane| look(lane, eight[lane]));
        }
        rest.iter().for_each(|value| look(0, *value));
        if differences != [0; 8] {
            return false;
        }
    }
    // Not so of NaN either.
    magnitudes.iter().sum::<f64>() < EXACT
}

/// Sums of the first 0, 1, … values, all exact.
pub(crate) fn prefix_sums(values: &[f64]) -> Option<Vec<f64>> {
    let mut total = 0.0;
    let sums = values.iter().map(|value| {
        total += value;
        total
    });
    are_whole(values).then(|| std::iter::once(0.0).chain(sums).collect())
}

/// The sum, if it is exact.
pub(crate) fn sum(values: &[f64]) -> Option<f64> {
    are_whole(values).then(|| {
        let (eights, rest) = values.as_chunks::<8>();
        let mut sums = [0.0; 8];
        for eight in eights {
            (0..8).for_each(|lane| sums[lane] += eight[lane]);
        }
        sums.iter().chain(rest).sum()
    })
}

#[cfg(test)]
mod tests {
    use super::super::kahan::Kahan;
    use proptest::prelude::*;

    fn values() -> impl Strategy<Value = Vec<f64>> {
        let whole = prop_oneof![
            4 => (-1000..1000i64).prop_map(|n| n as f64),
            1 => (0..1i64 << 40).prop_map(|n| n as f64),
        ];
        let odd = prop::sample::select(vec![
            -0.0,
            0.5,
            -1.25,
            f64::NAN,
            f64::INFINITY,
            f64::MAX,
            f64::MIN_POSITIVE,
            (1u64 << 51) as f64 + 0.5,
            (1u64 << 52) as f64 + 1.0,
            (1u64 << 53) as f64,
            -((1u64 << 53) as f64) + 1.0,
        ]);
        (prop::collection::vec(whole, 0..600), prop::option::of((odd, any::<prop::sample::Index>()))).prop_map(|(mut values, odd)| {
            if let Some((odd, place)) = odd {
                values.insert(place.index(values.len() + 1), odd);
            }
            values
        })
    }

    proptest! {
        #[test]
        fn exact_sums_have_the_bits_of_compensated_ones(values in values()) {
            let mut kahan = Kahan::default();
            let mut compensated = vec![0.0];
            for value in &values {
                kahan.add(*value);
                compensated.push(kahan.sum + kahan.c);
            }
            let bits = |values: Vec<f64>| values.into_iter().map(f64::to_bits).collect::<Vec<_>>();
            let total = super::sum(&values);
            prop_assert_eq!(super::prefix_sums(&values).is_some(), total.is_some());
            if let (Some(total), Some(sums)) = (total, super::prefix_sums(&values)) {
                prop_assert_eq!(total.to_bits(), sums[values.len()].to_bits());
                prop_assert_eq!(bits(sums), bits(compensated));
            }
            // Small numbers are not passed over.
            let small = values.iter().all(|value| value.fract() == 0.0 && value.abs() < 1e9 && value.to_bits() != (-0.0f64).to_bits());
            prop_assert!(!small || total.is_some());
        }
    }
}

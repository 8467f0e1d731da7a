//! Kahan–Neumaier summation with the reference's branches, so that sums have its bits.

/// A sum and what rounding has lost of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Kahan {
    pub sum: f64,
    pub c: f64,
}

impl Kahan {
    #[inline]
    pub fn add(&mut self, value: f64) {
        let total = self.sum + value;
        if total.is_infinite() {
            self.c = 0.0;
        } else if self.sum.abs() >= value.abs() {
            self.c += (self.sum - total) + value;
        } else {
            self.c += (value - total) + self.sum;
        }
        self.sum = total;
    }
}

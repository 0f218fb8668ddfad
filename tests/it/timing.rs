//! Whether two things take as long: measured in pairs, so that whatever else the machine does meets both.

use std::fmt;

/// In seconds.
pub struct Pairs {
    /// Medians.
    pub known: f64,
    pub unknown: f64,
    /// The median of the pairs' differences.
    pub apart: f64,
}

impl Pairs {
    /// Of what each of a pair took.
    pub fn of([known, unknown]: [Vec<f64>; 2]) -> Self {
        let apart = median(known.iter().zip(&unknown).map(|(known, unknown)| known - unknown).collect());
        Self { known: median(known), unknown: median(unknown), apart }
    }
}

impl fmt::Display for Pairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [known, unknown, apart] = [self.known, self.unknown, self.apart].map(|seconds| seconds * 1e3);
        write!(f, "known {known:.2} ms, unknown {unknown:.2} ms, {apart:.2} ms apart")
    }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

//! Latencies: kept whole, read as percentiles.

/// Nanoseconds, each at most about four seconds.
#[derive(Default)]
pub struct Samples(Vec<u32>);

impl Samples {
    /// Adds one.
    pub fn add(&mut self, nanoseconds: u64) {
        self.0.push(u32::try_from(nanoseconds).unwrap_or(u32::MAX));
    }

    /// Forgets those taken while warming up.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The members of a JSON object: p50, p90, p99, p99.9 and the greatest, in microseconds.
    pub fn json(mut self) -> String {
        self.0.sort_unstable();
        let at = |share: f64| -> f64 {
            let last = self.0.len().saturating_sub(1);
            let index = ((share * self.0.len() as f64) as usize).min(last);
            self.0.get(index).map_or(0.0, |&ns| f64::from(ns) / 1000.0)
        };
        format!(
            "\"p50_us\":{:.1},\"p90_us\":{:.1},\"p99_us\":{:.1},\"p999_us\":{:.1},\"max_us\":{:.1}",
            at(0.5),
            at(0.9),
            at(0.99),
            at(0.999),
            at(1.0)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_a_hundred() {
        let mut samples = Samples::default();
        for micro in (0..100).rev() {
            samples.add(micro * 1000);
        }
        assert_eq!(
            samples.json(),
            "\"p50_us\":50.0,\"p90_us\":90.0,\"p99_us\":99.0,\"p999_us\":99.0,\"max_us\":99.0"
        );
        assert!(Samples::default().json().starts_with("\"p50_us\":0.0"));
    }
}

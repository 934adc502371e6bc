//! Cycles per packet: one figure a burst, judged by percentiles.
//!
//! A burst lasts a few microseconds and so lies within one mode of a shared core; a mean over seconds would mix the
//! modes at random. The tenth percentile is the clean core, the median what a user sees.

use std::time::{Duration, Instant};

/// Figures of one round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    /// Tenth percentile.
    pub(crate) p10: f64,
    /// Median.
    pub(crate) median: f64,
}

impl Figures {
    /// Of the bursts' cycles per packet; none without a burst.
    pub(crate) fn of(mut bursts: Vec<f64>) -> Option<Figures> {
        bursts.sort_by(f64::total_cmp);
        Some(Figures {
            p10: *bursts.get(bursts.len() / 10)?,
            median: *bursts.get(bursts.len() / 2)?,
        })
    }
}

/// The middle of several values, and the lowest and highest of them.
pub(crate) fn middle(values: impl IntoIterator<Item = f64>) -> Option<(f64, [f64; 2])> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    Some((*values.get(values.len() / 2)?, [*values.first()?, *values.last()?]))
}

/// TSC cycles a second.
pub(crate) fn hertz() -> f64 {
    let (start, cycles) = (Instant::now(), sys::tsc::cycles());
    while start.elapsed() < Duration::from_millis(50) {
        std::hint::spin_loop();
    }
    #[expect(clippy::cast_precision_loss, reason = "a twentieth of a second")]
    let counted = (sys::tsc::cycles() - cycles) as f64;
    counted / start.elapsed().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_bursts() {
        let figures = Figures::of((0..100).rev().map(f64::from).collect()).unwrap();
        assert_eq!((figures.p10, figures.median), (10.0, 50.0));
        assert!(Figures::of(Vec::new()).is_none());
        assert_eq!(middle([3.0, 1.0, 2.0]), Some((2.0, [1.0, 3.0])));
    }
}

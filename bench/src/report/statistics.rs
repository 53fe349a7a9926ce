//! Whether two runs differ by more than chance.

use statrs::distribution::{ContinuousCDF, StudentsT};

/// What an interval showed, again and again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Mean.
    pub mean: f64,
    /// Standard error of the mean.
    pub error: f64,
    /// Observations that are worth something on their own, above 1 where there is an error.
    pub observations: f64,
}

impl Sample {
    /// Of observations in their order. Neighbours resemble each other (compactions, pauses), so that *n* of them say as
    /// much as *n* (1−ρ)/(1+ρ) independent ones, ρ being their correlation with their successors (Kish, "Survey
    /// Sampling", 1965, on effective sample size, for a process of first order).
    #[must_use]
    pub fn new(values: &[f64]) -> Option<Self> {
        let n = values.len() as f64;
        if values.len() < 3 {
            return None;
        }
        let mean = values.iter().sum::<f64>() / n;
        let square: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let neighbours: f64 = values.windows(2).map(|pair| (pair[0] - mean) * (pair[1] - mean)).sum();
        // Negative correlation would claim more than was seen.
        let rho = if square > 0.0 { (neighbours / square).clamp(0.0, 0.99) } else { 0.0 };
        let observations = (n * (1.0 - rho) / (1.0 + rho)).max(2.0);
        let error = (square / (n - 1.0) / observations).sqrt();
        Some(Self { mean, error, observations })
    }

    /// The probability of so large a difference between equals: Welch, "The generalization of Student's problem", 1947.
    #[must_use]
    pub fn chance_of_difference(&self, other: &Self) -> f64 {
        let (a, b) = (self.error.powi(2), other.error.powi(2));
        if a + b <= 0.0 {
            return if (self.mean - other.mean).abs() > f64::EPSILON { 0.0 } else { 1.0 };
        }
        let t = (self.mean - other.mean) / (a + b).sqrt();
        let freedom = (a + b).powi(2)
            / (a.powi(2) / (self.observations - 1.0) + b.powi(2) / (other.observations - 1.0));
        let Ok(distribution) = StudentsT::new(0.0, 1.0, freedom.max(1.0)) else { return 1.0 };
        2.0 * distribution.sf(t.abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(values: &[f64]) -> Sample {
        Sample::new(values).expect("enough values")
    }

    #[test]
    fn equals_differ_by_chance_and_others_do_not() {
        let a = sample(&[10.0, 11.0, 9.0, 10.5, 9.5, 10.0]);
        let b = sample(&[20.0, 21.0, 19.0, 20.5, 19.5, 20.0]);
        assert!((a.chance_of_difference(&a) - 1.0).abs() < 1e-9);
        assert!(a.chance_of_difference(&b) < 1e-4);
        assert!(Sample::new(&[1.0, 2.0]).is_none());
    }

    #[test]
    fn a_slow_wave_is_worth_fewer_observations_than_noise() {
        let wave: Vec<f64> = (0..60).map(|i| f64::from(i / 10)).collect();
        let noise: Vec<f64> = (0..60).map(|i| f64::from(i * 7 % 6)).collect();
        assert!(sample(&wave).observations < 10.0);
        assert!(sample(&noise).observations > 40.0);
    }
}

//! One of several things, by weight.

use rand::RngExt;

use super::Random;

/// Things with weights.
#[derive(Debug, Clone)]
pub struct Discrete<T> {
    choices: Vec<(T, f64)>,
    total: f64,
}

impl<T: Copy> Discrete<T> {
    /// None if no weight is above 0.
    #[must_use]
    pub fn new(choices: &[(T, f64)]) -> Option<Self> {
        let choices: Vec<_> = choices.iter().copied().filter(|&(_, weight)| weight > 0.0).collect();
        let total = choices.iter().map(|&(_, weight)| weight).sum();
        (!choices.is_empty()).then_some(Self { choices, total })
    }

    /// The next thing.
    pub fn next(&self, random: &mut Random) -> T {
        let mut left = random.random::<f64>() * self.total;
        let (last, before) = self.choices.split_last().expect("there is one by construction");
        for &(choice, weight) in before {
            if left < weight {
                return choice;
            }
            left -= weight;
        }
        last.0
    }
}

//! Of few and noisy samples.

/// The middle one, or the mean of the middle two. Of none: not a number.
pub(crate) fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

/// The least.
pub(crate) fn minimum(samples: &[f64]) -> f64 {
    samples.iter().copied().fold(f64::NAN, f64::min)
}

/// Half the distance between the quartiles, as a share of the median.
pub(crate) fn spread(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |share: f64| sorted.get((sorted.len() as f64 * share) as usize).copied();
    match (at(0.25), at(0.75)) {
        (Some(low), Some(high)) => (high - low) / 2.0 / median(samples),
        _ => f64::NAN,
    }
}

/// The ratio of what was measured in the same round, and of these the median: what disturbs a round disturbs both.
pub(crate) fn ratio(of: &[f64], to: &[f64]) -> f64 {
    let by_round: Vec<f64> = of.iter().zip(to).map(|(of, to)| of / to).collect();
    median(&by_round)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_odd_and_even_numbers_of_samples() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan() && minimum(&[]).is_nan() && spread(&[]).is_nan());
        assert_eq!(minimum(&[3.0, 1.0, 2.0]), 1.0);
        assert_eq!(spread(&[1.0, 2.0, 3.0, 4.0]), 0.4);
    }

    #[test]
    fn one_disturbed_round_does_not_change_a_ratio() {
        assert_eq!(ratio(&[2.0, 20.0, 2.2], &[1.0, 10.0, 1.1]), 2.0);
    }
}

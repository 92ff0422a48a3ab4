//! Random numbers from a seed, and draws by Zipf's law.

/// A generator (splitmix64). The same seed gives the same numbers.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// From a seed.
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }

    /// At least 0, less than 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Ranks drawn so that the k-th is 1/k^alpha as frequent as the first.
#[derive(Debug)]
pub(crate) struct Zipf(Vec<f64>);

impl Zipf {
    /// Over `n` ranks.
    pub(crate) fn new(n: usize, alpha: f64) -> Self {
        let mut sum = 0.0;
        let weights = (1..=n).map(|k| {
            sum += (k as f64).powf(-alpha);
            sum
        });
        Self(weights.collect())
    }

    /// A rank, from 0.
    pub(crate) fn draw(&self, random: &mut Random) -> usize {
        let total = self.0.last().copied().unwrap_or_default();
        let at = random.unit() * total;
        self.0.partition_point(|sum| *sum <= at).min(self.0.len().saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rank_is_drawn_as_often_as_the_law_says() {
        let (zipf, mut random) = (Zipf::new(1000, 1.0), Random::new(1));
        let first = (0..100_000).filter(|_| zipf.draw(&mut random) == 0).count();
        // 1 / H(1000) = 0.1336.
        assert!((13_000..13_750).contains(&first), "{first}");
    }

    #[test]
    fn numbers_below_a_limit_stay_below_it_and_reach_it() {
        let mut random = Random::new(7);
        let drawn: std::collections::BTreeSet<_> = (0..1000).map(|_| random.below(10)).collect();
        assert_eq!(drawn, (0..10).collect());
    }
}

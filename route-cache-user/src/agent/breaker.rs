//! The circuit breaker: under a flood of destinations that come once, looking for their clones costs more than it saves.
//!
//! What share of the packets found neither flow nor clone is read once a second. While that is most of many, few clones
//! are looked for and made; packets of flows that are known are not touched by it.

/// Packets a second that must find nothing before anything is done about it.
const MANY: u64 = 20_000;

/// Seconds of calm before all clones are looked for again.
const CALM: u32 = 3;

/// Packets forwarded since start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Forwarded {
    /// By a flow or a clone.
    pub(super) hits: u64,
    /// By the routes.
    pub(super) misses: u64,
}

/// Decides from what was counted.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    last: Option<Forwarded>,
    is_open: bool,
    calm: u32,
}

impl Breaker {
    /// Takes in the counters, so many seconds after the last time. Returns whether clones should be few.
    pub(super) fn read(&mut self, now: Forwarded, seconds: f64) -> bool {
        let Some(last) = self.last.replace(now) else {
            return self.is_open;
        };
        let misses = now.misses.saturating_sub(last.misses);
        let all = misses + now.hits.saturating_sub(last.hits);
        let rate = misses as f64 / seconds.max(0.1);
        if !self.is_open {
            self.is_open = misses > all / 2 && rate > MANY as f64;
            self.calm = 0;
            return self.is_open;
        }
        // Few clones make misses of what would be hits: so few of them as would not matter are calm as well.
        let is_calm = misses < all / 4 || rate < MANY as f64 / 2.0;
        self.calm = if is_calm { self.calm + 1 } else { 0 };
        self.is_open = self.calm < CALM;
        self.is_open
    }

    /// Nothing is looked for at all: begins anew afterwards.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What it says, second by second, for packets that hit and miss in each.
    fn says(seconds: &[(u64, u64)]) -> Vec<bool> {
        let (mut breaker, mut sum) = (Breaker::default(), Forwarded::default());
        assert!(!breaker.read(sum, 1.0));
        let mut read = |&(hits, misses): &(u64, u64)| {
            sum = Forwarded { hits: sum.hits + hits, misses: sum.misses + misses };
            breaker.read(sum, 1.0)
        };
        seconds.iter().map(&mut read).collect()
    }

    #[test]
    fn it_opens_when_most_of_many_packets_find_nothing() {
        assert_eq!(says(&[(0, 20_000), (0, 20_001)]), [false, true]);
        assert_eq!(says(&[(30_000, 30_000), (30_000, 30_100)]), [false, true]);
        assert_eq!(says(&[(1_000_000, 900_000)]), [false]);
    }

    #[test]
    fn it_closes_after_seconds_of_calm_in_a_row() {
        let flood = (0, 100_000);
        let calm = (100_000, 20_000);
        let so_so = (100_000, 50_000);
        assert_eq!(says(&[flood, calm, calm, calm]), [true, true, true, false]);
        assert_eq!(
            says(&[flood, calm, calm, so_so, calm, calm, calm]),
            [true, true, true, true, true, true, false]
        );
        assert_eq!(says(&[flood, so_so, so_so, so_so, so_so]), [true; 5]);
    }

    #[test]
    fn it_closes_when_next_to_nothing_comes() {
        assert_eq!(says(&[(0, 100_000), (0, 5_000), (0, 0), (0, 0)]), [true, true, true, false]);
    }

    #[test]
    fn it_goes_by_the_second() {
        let mut breaker = Breaker::default();
        let counted = |misses| Forwarded { hits: 0, misses };
        assert!(!breaker.read(counted(0), 1.0));
        assert!(!breaker.read(counted(50_000), 5.0), "10,000 a second");
        assert!(breaker.read(counted(65_000), 0.5), "30,000 a second");
    }

    #[test]
    fn counters_that_go_back_are_no_packets() {
        let mut breaker = Breaker::default();
        assert!(!breaker.read(Forwarded { hits: 9, misses: 1 << 40 }, 1.0));
        assert!(!breaker.read(Forwarded::default(), 1.0));
    }
}

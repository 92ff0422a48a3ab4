//! How hard memory presses: from the fill of the clone tables and the kernel's pressure stall information, with
//! hysteresis. Pure: the readings are arguments, and so is the time, in jiffies.

/// What the pressure calls for. Each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pressure {
    /// Nothing.
    None,
    /// Walk now.
    Sweep,
    /// Shrink the timeout, and walk.
    Shrink,
    /// Every clone goes (S13).
    Drain,
}

impl Pressure {
    /// All levels, lowest first.
    pub(crate) const ALL: [Self; 4] = [Self::None, Self::Sweep, Self::Shrink, Self::Drain];

    /// The stable name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Sweep => "sweep",
            Self::Shrink => "shrink",
            Self::Drain => "drain",
        }
    }
}

/// The share of the last ten seconds in which tasks waited for memory, in percent: `/proc/pressure/memory`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Stall {
    /// At least one task.
    pub(crate) some: f64,
    /// All tasks at once.
    pub(crate) full: f64,
}

/// One reading of everything there is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Reading {
    /// Clones by capacity, of the fullest table: 0 to 1.
    pub(crate) fill: f64,
    /// None where the kernel does not tell.
    pub(crate) stall: Option<Stall>,
}

/// From where on a level is entered.
struct Threshold {
    level: Pressure,
    fill: f64,
    some: f64,
    full: f64,
}

/// Highest first. Tables above three quarters are above the default of `rtmaxcache`: the sweeper shrinks by itself there.
/// A task that waits is a reason to look; all tasks waiting is a machine that stands still.
const THRESHOLDS: [Threshold; 3] = [
    Threshold { level: Pressure::Drain, fill: 1.0, some: 60.0, full: 20.0 },
    Threshold { level: Pressure::Shrink, fill: 0.9, some: 25.0, full: 5.0 },
    Threshold { level: Pressure::Sweep, fill: 0.8, some: 10.0, full: 1.0 },
];

/// A level is held until everything is below this share of what led to it…
const RELEASE: f64 = 0.8;

/// …for this many seconds: as long as the kernel's average looks back.
const HOLD_SECONDS: u64 = 10;

/// The level of pressure, as it follows the readings: up at once, down one level at a time.
#[derive(Debug)]
pub(crate) struct Gauge {
    hold: u64,
    level: Pressure,
    /// Since when the readings are below what holds the level.
    relieved_since: Option<u64>,
}

impl Gauge {
    /// No pressure so far.
    pub(crate) const fn new(hz: u64) -> Self {
        Self { hold: HOLD_SECONDS * hz, level: Pressure::None, relieved_since: None }
    }

    /// Takes in a reading. Returns the level it leads to.
    pub(crate) fn read(&mut self, reading: Reading, now: u64) -> Pressure {
        let reached = level(reading, 1.0);
        if reached > self.level {
            self.level = reached;
            self.relieved_since = None;
        } else if level(reading, RELEASE) >= self.level {
            self.relieved_since = None;
        } else {
            let since = *self.relieved_since.get_or_insert(now);
            if now.saturating_sub(since) >= self.hold {
                self.level = one_below(self.level);
                self.relieved_since = Some(now);
            }
        }
        self.level
    }
}

/// The level of a reading by itself, with the thresholds scaled. What is not a number is below all of them.
fn level(reading: Reading, scale: f64) -> Pressure {
    let stall = reading.stall.unwrap_or(Stall { some: 0.0, full: 0.0 });
    THRESHOLDS
        .iter()
        .find(|threshold| {
            reading.fill >= threshold.fill * scale
                || stall.some >= threshold.some * scale
                || stall.full >= threshold.full * scale
        })
        .map_or(Pressure::None, |threshold| threshold.level)
}

const fn one_below(level: Pressure) -> Pressure {
    match level {
        Pressure::None | Pressure::Sweep => Pressure::None,
        Pressure::Shrink => Pressure::Sweep,
        Pressure::Drain => Pressure::Shrink,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HZ: u64 = 100;

    fn fill(fill: f64) -> Reading {
        Reading { fill, stall: None }
    }

    fn stall(some: f64, full: f64) -> Reading {
        Reading { fill: 0.0, stall: Some(Stall { some, full }) }
    }

    #[test]
    fn each_source_leads_to_each_level_at_once() {
        for (reading, expected) in [
            (fill(0.0), Pressure::None),
            (fill(0.79), Pressure::None),
            (fill(0.8), Pressure::Sweep),
            (fill(0.9), Pressure::Shrink),
            (fill(1.0), Pressure::Drain),
            (stall(9.9, 0.9), Pressure::None),
            (stall(10.0, 0.0), Pressure::Sweep),
            (stall(25.0, 0.0), Pressure::Shrink),
            (stall(10.0, 5.0), Pressure::Shrink),
            (stall(60.0, 0.0), Pressure::Drain),
            (stall(25.0, 20.0), Pressure::Drain),
            (
                Reading { fill: 0.85, stall: Some(Stall { some: 30.0, full: 0.0 }) },
                Pressure::Shrink,
            ),
        ] {
            assert_eq!(Gauge::new(HZ).read(reading, 0), expected, "{reading:?}");
        }
    }

    #[test]
    fn it_falls_one_level_at_a_time_and_only_after_a_while() {
        let mut gauge = Gauge::new(HZ);
        assert_eq!(gauge.read(fill(1.0), 0), Pressure::Drain);
        assert_eq!(gauge.read(fill(0.0), 1), Pressure::Drain);
        assert_eq!(gauge.read(fill(0.0), 1000), Pressure::Drain);
        assert_eq!(gauge.read(fill(0.0), 1001), Pressure::Shrink);
        assert_eq!(gauge.read(fill(0.0), 2000), Pressure::Shrink);
        assert_eq!(gauge.read(fill(0.0), 2001), Pressure::Sweep);
        assert_eq!(gauge.read(fill(0.0), 9000), Pressure::None);
    }

    #[test]
    fn a_reading_that_hovers_about_a_threshold_does_not_make_it_flap() {
        let mut gauge = Gauge::new(HZ);
        for (index, wanted) in [0.91, 0.89, 0.91, 0.89, 0.75, 0.9].into_iter().enumerate() {
            assert_eq!(gauge.read(fill(wanted), index as u64 * 2000), Pressure::Shrink);
        }
        assert_eq!(gauge.read(fill(0.7), 20_000), Pressure::Shrink);
        assert_eq!(gauge.read(fill(0.75), 20_900), Pressure::Shrink, "up again before it fell");
        assert_eq!(gauge.read(fill(0.7), 21_100), Pressure::Shrink, "and the wait begins anew");
    }

    #[test]
    fn nonsense_is_no_pressure() {
        for reading in [fill(f64::NAN), fill(-1.0), stall(f64::NAN, f64::NAN)] {
            assert_eq!(Gauge::new(HZ).read(reading, 0), Pressure::None);
        }
    }
}

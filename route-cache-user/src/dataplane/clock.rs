//! The kernel's jiffies, as the program reads them, against the monotonic clock.
//!
//! Jiffies tick at the kernel's HZ, which user space is not told (USER_HZ is another number). A program that reads both
//! clocks tells it. Both stand still during suspend, and neither follows the wall clock.
//!
//! In a time namespace, as a container may have, the agent's own monotonic clock is another than the program's. So time
//! that has passed since a reading is told from the agent's own clock alone.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    maps::{Array, MapData},
    programs::{TestRun as _, TestRunOptions},
};
use nix::time::{ClockId, clock_gettime};
use route_cache_common::{config::ClockReading, programs};

/// HZ values a kernel for x86 or arm64 can be configured with (kernel/Kconfig.hz).
const HZ_VALUES: [u64; 4] = [100, 250, 300, 1000];

/// Long enough that a jiffy more or less at either end does not lead to the wrong HZ.
const CALIBRATION: Duration = Duration::from_millis(300);

/// Runs the clock program.
pub(crate) struct ClockReader {
    reading: Array<MapData, ClockReading>,
}

impl ClockReader {
    /// Loads the clock program.
    pub(crate) fn new(ebpf: &mut Ebpf) -> Result<Self> {
        let reading = crate::maps::take_clock(ebpf)?;
        super::program(ebpf, programs::CLOCK)?
            .load()
            .context("the kernel's verifier refused the clock program")?;
        Ok(Self { reading })
    }

    /// Jiffies and the monotonic clock at this moment.
    pub(crate) fn read(&self, ebpf: &mut Ebpf) -> Result<ClockReading> {
        // The kernel refuses to run an XDP program on less than an Ethernet header.
        let frame = [0; 64];
        let options = TestRunOptions { data_in: Some(&frame), ..TestRunOptions::default() };
        super::program(ebpf, programs::CLOCK)?
            .test_run(options)
            .context("cannot run the clock program")?;
        self.reading.get(&0, 0).context("cannot read the clock map")
    }
}

/// Tells jiffies without asking the kernel.
pub(crate) struct Clock {
    hz: u64,
    anchor: Mutex<Anchor>,
}

/// Jiffies at some time of the agent's own clock.
#[derive(Clone, Copy)]
struct Anchor {
    jiffies: u64,
    own_ns: u64,
}

impl Anchor {
    /// Of a reading just taken. The agent's clock is looked at after it: jiffies that are told may be behind, by as much
    /// as the agent was held up in between, but never ahead, so that no clone expires early.
    fn new(reading: ClockReading) -> Self {
        Self { jiffies: reading.jiffies, own_ns: monotonic_ns().unwrap_or_default() }
    }

    /// Jiffies at a later time of the agent's own clock.
    const fn at(self, own_ns: u64, hz: u64) -> u64 {
        self.jiffies + ns_to_jiffies(own_ns.saturating_sub(self.own_ns), hz)
    }
}

impl Clock {
    /// Takes two readings and finds HZ. Takes [`CALIBRATION`].
    pub(crate) fn calibrate(reader: &ClockReader, ebpf: &mut Ebpf) -> Result<Self> {
        let first = reader.read(ebpf)?;
        // Time has to pass: it is what is measured.
        std::thread::sleep(CALIBRATION);
        let second = reader.read(ebpf)?;
        Ok(Self { hz: nearest_hz(first, second), anchor: Mutex::new(Anchor::new(second)) })
    }

    /// Jiffies a second.
    pub(crate) const fn hz(&self) -> u64 {
        self.hz
    }

    /// Takes a reading just taken as the anchor.
    pub(crate) fn set(&self, reading: ClockReading) {
        *self.anchor.lock().unwrap_or_else(PoisonError::into_inner) = Anchor::new(reading);
    }

    /// Jiffies now, to within a jiffy or two.
    pub(crate) fn now(&self) -> u64 {
        let anchor = *self.anchor.lock().unwrap_or_else(PoisonError::into_inner);
        anchor.at(monotonic_ns().unwrap_or(anchor.own_ns), self.hz)
    }

    /// Whole seconds in jiffies; forever if that does not fit.
    pub(crate) const fn seconds(&self, seconds: u64) -> u64 {
        seconds.saturating_mul(self.hz)
    }

    /// Jiffies in seconds.
    pub(crate) fn to_seconds(&self, jiffies: u64) -> f64 {
        jiffies as f64 / self.hz as f64
    }

    #[cfg(test)]
    pub(crate) fn fixed(hz: u64, reading: ClockReading) -> Self {
        Self { hz, anchor: Mutex::new(Anchor::new(reading)) }
    }
}

const fn ns_to_jiffies(ns: u64, hz: u64) -> u64 {
    (ns as u128 * hz as u128 / 1_000_000_000) as u64
}

fn monotonic_ns() -> Option<u64> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).ok()?;
    Some(u64::try_from(now.tv_sec()).ok()? * 1_000_000_000 + u64::try_from(now.tv_nsec()).ok()?)
}

fn nearest_hz(first: ClockReading, second: ClockReading) -> u64 {
    let jiffies = second.jiffies.saturating_sub(first.jiffies) as f64;
    let seconds = second.monotonic_ns.saturating_sub(first.monotonic_ns).max(1) as f64 / 1e9;
    let measured = jiffies / seconds;
    let distance = |hz: &u64| (*hz as f64 / measured).ln().abs();
    HZ_VALUES.into_iter().min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap_or(250)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hz_is_found_in_spite_of_a_jiffy_at_either_end() {
        for hz in [100u64, 250, 300, 1000] {
            for error in [-1i64, 0, 1] {
                let first = ClockReading { jiffies: 5_000_000_000, monotonic_ns: 77 };
                let jiffies = (hz * 3 / 10) as i64 + error;
                let second = ClockReading {
                    jiffies: first.jiffies + jiffies as u64,
                    monotonic_ns: first.monotonic_ns + 300_000_000,
                };
                assert_eq!(nearest_hz(first, second), hz, "off by {error}");
            }
        }
    }

    #[test]
    fn clock_jumps_between_the_programs_and_the_agents_own_clock_do_not_count() {
        // As in a time namespace, either way: the program's clock is not the agent's.
        for monotonic_ns in [0, 1, u64::MAX / 2] {
            let clock = Clock::fixed(250, ClockReading { jiffies: 5_000_000, monotonic_ns });
            let now = clock.now();
            assert!((5_000_000..5_000_000 + 10 * 250).contains(&now), "{now}");
        }
    }

    #[test]
    fn jiffies_pass_with_the_agents_own_clock_and_stand_still_if_it_goes_back() {
        let anchor = Anchor { jiffies: 1000, own_ns: 7_000_000_000 };
        assert_eq!(anchor.at(7_000_000_000, 250), 1000);
        assert_eq!(anchor.at(9_000_000_000, 250), 1500);
        assert_eq!(anchor.at(3_000_000_000, 250), 1000);
    }

    #[test]
    fn seconds_become_jiffies_without_overflow() {
        let clock = Clock::fixed(1000, ClockReading::default());
        assert_eq!(clock.seconds(3600), 3_600_000);
        assert_eq!(clock.seconds(u64::MAX), u64::MAX);
    }
}

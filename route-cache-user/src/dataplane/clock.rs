//! The kernel's jiffies, as the program reads them, against the monotonic clock.
//!
//! Jiffies tick at the kernel's HZ, which user space is not told (USER_HZ is another number). A program that reads both
//! clocks tells it. Both stand still during suspend, and neither follows the wall clock.

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
    anchor: Mutex<ClockReading>,
}

impl Clock {
    /// Takes two readings and finds HZ. Takes [`CALIBRATION`].
    pub(crate) fn calibrate(reader: &ClockReader, ebpf: &mut Ebpf) -> Result<Self> {
        let first = reader.read(ebpf)?;
        // Time has to pass: it is what is measured.
        std::thread::sleep(CALIBRATION);
        let second = reader.read(ebpf)?;
        Ok(Self { hz: nearest_hz(first, second), anchor: Mutex::new(second) })
    }

    /// Jiffies a second.
    pub(crate) const fn hz(&self) -> u64 {
        self.hz
    }

    /// Takes a newer reading as the anchor.
    pub(crate) fn set(&self, reading: ClockReading) {
        *self.anchor.lock().unwrap_or_else(PoisonError::into_inner) = reading;
    }

    /// Jiffies now, to within a jiffy or two.
    pub(crate) fn now(&self) -> u64 {
        let anchor = *self.anchor.lock().unwrap_or_else(PoisonError::into_inner);
        let now = monotonic_ns().unwrap_or(anchor.monotonic_ns);
        anchor.jiffies + self.ns_to_jiffies(now.saturating_sub(anchor.monotonic_ns))
    }

    /// Whole seconds in jiffies; forever if that does not fit.
    pub(crate) const fn seconds(&self, seconds: u64) -> u64 {
        seconds.saturating_mul(self.hz)
    }

    /// Jiffies in seconds.
    pub(crate) fn to_seconds(&self, jiffies: u64) -> f64 {
        jiffies as f64 / self.hz as f64
    }

    const fn ns_to_jiffies(&self, ns: u64) -> u64 {
        (ns as u128 * self.hz as u128 / 1_000_000_000) as u64
    }

    #[cfg(test)]
    pub(crate) fn fixed(hz: u64, anchor: ClockReading) -> Self {
        Self { hz, anchor: Mutex::new(anchor) }
    }
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
    fn seconds_become_jiffies_without_overflow() {
        let clock = Clock::fixed(1000, ClockReading::default());
        assert_eq!(clock.seconds(3600), 3_600_000);
        assert_eq!(clock.seconds(u64::MAX), u64::MAX);
    }
}

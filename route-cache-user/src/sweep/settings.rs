//! What the operator sets (S16): one table of names, limits and defaults.
//!
//! Timeouts are whole seconds here, as the operator reads and types them; [`Seconds::jiffies`] is the only way from them
//! to the unit in which clones tell the time.

use std::fmt;

use thiserror::Error;

/// Whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seconds(pub(crate) u64);

impl Seconds {
    /// In jiffies; forever if that does not fit.
    pub(crate) const fn jiffies(self, hz: u64) -> u64 {
        self.0.saturating_mul(hz)
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s", self.0)
    }
}

/// What can be set while the agent runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Setting {
    /// How long an idle clone is kept, in seconds.
    RtExpire,
    /// The least that pressure shrinks it to, in seconds.
    RtMinExpire,
    /// The clones of one CPU above which it shrinks.
    RtMaxCache,
    /// The longest time between two walks of a table, in seconds.
    SweepInterval,
}

impl Setting {
    /// All of them.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 4] =
        [Self::RtExpire, Self::RtMinExpire, Self::RtMaxCache, Self::SweepInterval];

    /// The name in configuration, command line and control socket.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::RtExpire => "rtexpire",
            Self::RtMinExpire => "rtminexpire",
            Self::RtMaxCache => "rtmaxcache",
            Self::SweepInterval => "sweep-interval",
        }
    }

    /// The values it takes. The most is 136 years, far from every overflow in jiffies.
    pub(crate) const fn limits(self) -> (u64, u64) {
        match self {
            Self::RtExpire | Self::RtMinExpire | Self::RtMaxCache => (0, u32::MAX as u64),
            Self::SweepInterval => (1, u32::MAX as u64),
        }
    }

    /// Refuses what it does not take.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`].
    pub(crate) fn check(self, value: u64) -> Result<(), OutOfRange> {
        let (least, most) = self.limits();
        if (least..=most).contains(&value) {
            Ok(())
        } else {
            Err(OutOfRange { name: self.name(), value, least, most })
        }
    }
}

/// A value that a setting does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{name} cannot be {value}: it must be {least} to {most}")]
pub(crate) struct OutOfRange {
    name: &'static str,
    value: u64,
    least: u64,
    most: u64,
}

/// The values of all [`Setting`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settings {
    /// [`Setting::RtExpire`].
    pub(crate) rtexpire: Seconds,
    /// [`Setting::RtMinExpire`].
    pub(crate) rtminexpire: Seconds,
    /// [`Setting::RtMaxCache`].
    pub(crate) rtmaxcache: u64,
    /// [`Setting::SweepInterval`].
    pub(crate) sweep_interval: Seconds,
}

impl Settings {
    /// The defaults of the seed, but for `rtmaxcache`: three quarters of the clones that one CPU's table can hold, so
    /// that the timeout shrinks before clones are refused.
    #[cfg(test)]
    pub(crate) const fn for_capacity(clones_per_cpu: u32) -> Self {
        Self {
            rtexpire: Seconds(3600),
            rtminexpire: Seconds(10),
            rtmaxcache: clones_per_cpu as u64 * 3 / 4,
            sweep_interval: Seconds(600),
        }
    }
}

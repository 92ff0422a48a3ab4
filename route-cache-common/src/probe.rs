//! The probe frame: to which interface it goes, and what the tracepoint programs have heard of it.

/// What lies in [`crate::maps::PROBE`]. One word in the map.
///
/// ```text
/// 63..32 interface index   31..0 answer
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The interface that is asked about; 0 while none is.
    pub ifindex: u32,
    /// A positive errno, or one of the constants here.
    pub answer: u32,
}

impl Probe {
    /// The driver took fewer frames than it was given and named no error.
    pub const DROPPED: u32 = 0;
    /// Nothing was heard.
    pub const SILENCE: u32 = 1 << 16;
    /// The driver took the frame.
    pub const SENT: u32 = 2 << 16;

    /// Packs into the map word.
    #[must_use]
    #[inline(always)]
    pub const fn pack(self) -> u64 {
        (self.ifindex as u64) << 32 | self.answer as u64
    }

    /// Unpacks from the map word.
    #[must_use]
    #[inline(always)]
    pub const fn unpack(word: u64) -> Self {
        Self { ifindex: (word >> 32) as u32, answer: word as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_is_one_word() {
        let probe = Probe { ifindex: 65_535, answer: Probe::SENT };
        assert_eq!(Probe::unpack(probe.pack()), probe);
    }
}

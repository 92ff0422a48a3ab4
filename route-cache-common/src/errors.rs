//! Redirects that came to nothing: what the tracepoint programs count them by.

/// Key of the error counters: where it happened and why. One word in the map.
///
/// ```text
/// 63..32 interface index   31..0 cause
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RedirectError {
    /// The egress interface; of an [`RedirectError::EXCEPTION`] the ingress interface.
    pub ifindex: u32,
    /// A positive errno, or one of the constants here.
    pub cause: u32,
}

impl RedirectError {
    /// The driver took fewer frames than it was given and named no error: its queue was full, mostly.
    pub const DROPPED: u32 = 0;
    /// The driver could not do what the program asked for.
    pub const EXCEPTION: u32 = 1 << 16;

    /// Packs into the map word.
    #[must_use]
    #[inline(always)]
    pub const fn pack(self) -> u64 {
        (self.ifindex as u64) << 32 | self.cause as u64
    }

    /// Unpacks from the map word.
    #[must_use]
    pub const fn unpack(word: u64) -> Self {
        Self { ifindex: (word >> 32) as u32, cause: word as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_word() {
        let error = RedirectError { ifindex: 65_535, cause: RedirectError::EXCEPTION };
        assert_eq!(RedirectError::unpack(error.pack()), error);
    }
}

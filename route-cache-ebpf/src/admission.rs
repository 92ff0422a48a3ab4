//! Step of the miss path: who gets a clone (see [`Admission`]).

use route_cache_common::{Config, clones::Admission};

use crate::maps;

/// Whether a destination that was found in the routes gets a clone now; `tag` is its address folded.
#[inline(always)]
pub fn admits(config: &Config, tag: u32, now: u64) -> bool {
    if config.flags & Config::CLONE_ON_FIRST != 0 {
        return true;
    }
    let window = u64::from(config.window);
    let budget_left = config.flags & Config::CLONE_ON_SECOND == 0
        && maps::admission().is_some_and(|admission| within_budget(admission, now, window));
    budget_left || maps::seen(hash(tag)).is_some_and(|seen| seen_before(seen, tag, now, window))
}

/// Takes one clone from the budget of the present window, if there is one left.
#[inline(always)]
fn within_budget(admission: &mut Admission, now: u64, window: u64) -> bool {
    if now.wrapping_sub(admission.window_start) >= window {
        *admission = Admission { window_start: now, admitted: 0 };
    }
    let left = admission.admitted < Admission::BUDGET;
    admission.admitted += u64::from(left);
    left
}

/// Whether this destination is the one that was last seen here, within a window; it is from now on.
///
/// ```text
/// 63..32 jiffies, lower half   31..0 tag
/// ```
#[inline(always)]
fn seen_before(seen: &mut u64, tag: u32, now: u64, window: u64) -> bool {
    let was = core::mem::replace(seen, now << 32 | u64::from(tag));
    let age = (now as u32).wrapping_sub((was >> 32) as u32);
    was as u32 == tag && u64::from(age) <= window
}

/// The upper bits of the product depend on every byte of the tag.
#[inline(always)]
fn hash(tag: u32) -> u32 {
    tag.wrapping_mul(0x9e37_79b1) >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_has_a_budget_of_first_packets_and_the_next_one_a_new_one() {
        let mut admission = Admission::default();
        for _ in 0..Admission::BUDGET {
            assert!(within_budget(&mut admission, 1000, 250));
        }
        assert!(!within_budget(&mut admission, 1249, 250));
        assert!(within_budget(&mut admission, 1250, 250));
    }

    #[test]
    fn a_destination_is_admitted_when_seen_again_within_a_window() {
        let mut seen = 0;
        assert!(!seen_before(&mut seen, 1, 5000, 250));
        assert!(seen_before(&mut seen, 1, 5250, 250));
        assert!(!seen_before(&mut seen, 1, 5501, 250), "too late");
        assert!(!seen_before(&mut seen, 2, 5501, 250), "another destination");
        assert!(!seen_before(&mut seen, 1, 5501, 250), "its place was taken");
    }

    #[test]
    fn what_was_seen_survives_the_wrap_of_the_lower_half_of_jiffies() {
        let mut seen = 0;
        let now = 0x1_ffff_fff0u64;
        assert!(!seen_before(&mut seen, 1, now, 250));
        assert!(seen_before(&mut seen, 1, now + 100, 250));
    }
}

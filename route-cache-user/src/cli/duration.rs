//! Durations as people type and read them.

use std::time::Duration;

/// 136 years: enough, and far from every overflow in jiffies.
const LONGEST: u64 = u32::MAX as u64;

/// Parses whole seconds, minutes or hours: `90`, `90s`, `5m`, `1h`, `0`.
///
/// # Errors
///
/// What is wrong, as a sentence without its subject.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let (digits, scale) = match text.as_bytes().last() {
        Some(b's') => (&text[..text.len() - 1], 1),
        Some(b'm') => (&text[..text.len() - 1], 60),
        Some(b'h') => (&text[..text.len() - 1], 3600),
        _ => (text, 1),
    };
    if digits.strip_prefix('-').is_some_and(|rest| rest.parse::<u64>().is_ok()) {
        return Err("must not be negative".into());
    }
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("expected whole seconds, minutes or hours, such as 90, 90s, 5m or 1h".into());
    }
    digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(scale))
        .filter(|&seconds| seconds <= LONGEST)
        .map(Duration::from_secs)
        .ok_or_else(|| format!("more than {LONGEST} seconds"))
}

/// The two largest units: `3s`, `5m12s`, `2h3m`, `4d7h`.
pub(super) fn human(seconds: f64) -> String {
    // Saturates, and makes nothing of what is negative or not a number.
    let seconds = seconds as u64;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{}s", seconds % 60),
        (0, _, _) => format!("{hours}h{}m", minutes % 60),
        _ => format!("{days}d{}h", hours % 24),
    }
}

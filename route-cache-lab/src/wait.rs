//! Waiting for a condition instead of for time to pass.

use std::{
    env,
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// How often a condition is looked at: short against everything that is awaited, long against a system call.
const PERIOD: Duration = Duration::from_millis(2);

/// By this variable a machine that is emulated in software asks for so many times more patience, a whole number.
pub const PATIENCE_FACTOR: &str = "ROUTE_CACHE_LAB_PATIENCE";

/// How long something may take: as is said here, but for [`PATIENCE_FACTOR`].
#[must_use]
pub fn patience(timeout: Duration) -> Duration {
    static FACTOR: OnceLock<u32> = OnceLock::new();
    let factor = *FACTOR.get_or_init(|| factor(env::var(PATIENCE_FACTOR).ok().as_deref()));
    timeout * factor
}

fn factor(text: Option<&str>) -> u32 {
    text.and_then(|text| text.parse().ok()).filter(|factor| *factor > 0).unwrap_or(1)
}

/// Waits until `condition` holds.
///
/// # Errors
/// If it does not within `timeout`; the error names `what` was awaited.
pub fn wait_until(
    what: &str,
    timeout: Duration,
    mut condition: impl FnMut() -> bool,
) -> Result<()> {
    wait_for(what, timeout, || condition().then_some(()))
}

/// Waits until `probe` gives a value.
///
/// # Errors
/// If it does not within `timeout`; the error names `what` was awaited.
pub fn wait_for<T>(
    what: &str,
    timeout: Duration,
    mut probe: impl FnMut() -> Option<T>,
) -> Result<T> {
    let timeout = patience(timeout);
    let deadline = Instant::now() + timeout;
    loop {
        // Whether time was up is asked first, so that the probe has a last look after it.
        let late = Instant::now() >= deadline;
        if let Some(value) = probe() {
            return Ok(value);
        }
        if late {
            bail!("waited {timeout:?} in vain for this: {what}");
        }
        thread::sleep(PERIOD);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_longer_unless_asked_to() {
        assert_eq!([None, Some(""), Some("0"), Some("-3"), Some("x")].map(factor), [1; 5]);
        assert_eq!(factor(Some("12")), 12);
    }

    #[test]
    fn gives_the_value_as_soon_as_it_is_there() {
        let mut calls = 0;
        let got = wait_for("three", Duration::from_secs(5), || {
            calls += 1;
            (calls == 3).then_some(calls)
        });
        assert_eq!(got.unwrap(), 3);
    }

    #[test]
    fn names_what_was_awaited() {
        let error = wait_until("the moon", Duration::ZERO, || false).unwrap_err();
        assert!(error.to_string().contains("the moon"), "{error}");
    }
}

//! How often the mirror has taken in all that the kernel had said by then.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Counts the times.
#[derive(Debug, Default)]
pub(crate) struct CaughtUp {
    times: Mutex<u64>,
    again: Condvar,
}

impl CaughtUp {
    /// It has.
    pub(crate) fn note(&self) {
        *self.lock() += 1;
        self.again.notify_all();
    }

    /// A time after which the mirror knows all that the kernel has said until now. The next one may have begun before
    /// now; the one after it has not.
    pub(crate) fn after_now(&self) -> u64 {
        *self.lock() + 2
    }

    /// Whether that time has come.
    pub(crate) fn has_come(&self, time: u64) -> bool {
        *self.lock() >= time
    }

    /// Waits for that time. Returns whether it has come. Blocks.
    pub(crate) fn wait(&self, time: u64, patience: Duration) -> bool {
        let waited = self.again.wait_timeout_while(self.lock(), patience, |now| *now < time);
        let (now, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *now >= time
    }

    fn lock(&self) -> MutexGuard<'_, u64> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_may_have_begun_before_does_not_count() {
        let caught_up = CaughtUp::default();
        let time = caught_up.after_now();
        caught_up.note();
        assert!(!caught_up.has_come(time));
        assert!(!caught_up.wait(time, Duration::ZERO));
        caught_up.note();
        assert!(caught_up.has_come(time));
        assert!(caught_up.wait(time, Duration::ZERO));
    }
}

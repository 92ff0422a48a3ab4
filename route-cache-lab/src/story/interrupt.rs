//! Ctrl-C and its like: noted, so that everything is taken down in order.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{SigSet, Signal};

/// Whether somebody has asked for the end.
#[derive(Debug, Clone)]
pub(super) struct Interrupt(Arc<State>);

#[derive(Debug, Default)]
struct State {
    signal: Mutex<Option<Signal>>,
    raised: Condvar,
}

impl Interrupt {
    /// From now on SIGINT, SIGTERM and SIGHUP are noted and do nothing else. To be called while there is but one thread.
    pub(super) fn listen() -> Result<Self> {
        let signals: SigSet =
            [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
        signals.thread_block().context("cannot block signals")?;
        let interrupt = Self(Arc::default());
        let state = Arc::clone(&interrupt.0);
        thread::spawn(move || {
            while let Ok(signal) = signals.wait() {
                state.signal.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(signal);
                state.raised.notify_all();
            }
        });
        Ok(interrupt)
    }

    /// Whether it was asked for.
    pub(super) fn is_raised(&self) -> bool {
        self.signal().is_some()
    }

    /// Fails if it was asked for.
    pub(super) fn check(&self) -> Result<()> {
        match self.signal() {
            Some(signal) => bail!("interrupted by {signal}"),
            None => Ok(()),
        }
    }

    /// The exit code by which a shell knows a process that a signal has ended.
    pub(super) fn code(&self) -> Option<u8> {
        self.signal().map(|signal| 128 + signal as u8)
    }

    /// Waits until it is asked for.
    pub(super) fn wait(&self) {
        let guard = self.0.signal.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.0.raised.wait_while(guard, |signal| signal.is_none());
        drop(waited);
    }

    fn signal(&self) -> Option<Signal> {
        *self.0.signal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

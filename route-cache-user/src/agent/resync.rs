//! When the kernel's tables are read anew, and what happened meanwhile.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::task::JoinHandle;

use crate::fib::{
    dump,
    message::Event,
    tables::{Cause, Tables},
};

/// Least time between the starts of two dumps.
const RESYNC_INTERVAL: Duration = Duration::from_secs(1);

/// The present dump and the next one.
#[derive(Default)]
pub(super) struct Resync {
    running: Option<JoinHandle<Result<Tables>>>,
    wanted: Option<Cause>,
    last_start: Option<Instant>,
    /// What was heard since it began.
    meanwhile: Vec<Event>,
}

/// What is to be done next.
pub(super) enum Step {
    /// Start the dump that was asked for.
    Due,
    /// Take in the one that ran.
    Finished(Result<Box<Tables>>),
}

impl Resync {
    /// Asks for a dump. One that makes the tables untrusted counts for more than one that does not.
    pub(super) fn want(&mut self, cause: Cause) {
        if self.wanted.is_none_or(|wanted| cause.distrusts() && !wanted.distrusts()) {
            self.wanted = Some(cause);
        }
    }

    /// Why the tables will be untrusted even when the present dump is in.
    pub(super) fn distrusted(&self) -> Option<Cause> {
        self.wanted.filter(|cause| cause.distrusts())
    }

    /// Waits for the dump that runs, or until the next one is to start. Dropped while it waits, it has done nothing.
    pub(super) async fn next(&mut self) -> Step {
        if self.running.is_some() {
            return Step::Finished(finished(&mut self.running).await.map(Box::new));
        }
        match (self.wanted, self.last_start) {
            (None, _) => std::future::pending().await,
            (Some(_), None) => {}
            (Some(_), Some(last)) => {
                tokio::time::sleep_until((last + RESYNC_INTERVAL).into()).await
            }
        }
        Step::Due
    }

    /// Starts the dump that was asked for, off the event loop.
    pub(super) fn start(&mut self) -> Option<Cause> {
        let cause = self.wanted.take()?;
        self.last_start = Some(Instant::now());
        self.meanwhile.clear();
        self.running = Some(tokio::task::spawn_blocking(dump::all));
        Some(cause)
    }

    /// Remembers an event while a dump runs.
    pub(super) fn note(&mut self, event: &Event) {
        if self.running.is_some() {
            self.meanwhile.push(event.clone());
        }
    }

    /// Repeats on a dump what was heard while it ran.
    pub(super) fn catch_up(&mut self, tables: &mut Tables) {
        for event in self.meanwhile.drain(..) {
            // What it asks for was asked for when it came.
            let _heard = tables.apply(event);
        }
    }
}

/// Waits for a task on the side, and takes it away once it is done.
pub(super) async fn finished<T>(task: &mut Option<JoinHandle<Result<T>>>) -> Result<T> {
    let joined = match task.as_mut() {
        Some(handle) => handle.await,
        None => std::future::pending().await,
    };
    *task = None;
    joined.context("a task broke off")?
}

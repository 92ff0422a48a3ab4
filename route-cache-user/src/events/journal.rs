//! The last events, and those who wait for the next.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::Notify;

use super::{Entry, Event, sampler::Sampler};

/// Events kept.
pub(super) const KEPT: usize = 1024;

/// The last events of the agent.
#[derive(Debug)]
pub(crate) struct Journal {
    started: Instant,
    ring: Mutex<Ring>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Ring {
    entries: VecDeque<Entry>,
    /// Events that were in the ring and are not any more; so the number of the first that is.
    gone: u64,
    sampler: Sampler,
}

impl Journal {
    /// An empty one of an agent that runs since `started`.
    pub(crate) fn new(started: Instant) -> Self {
        Self { started, ring: Mutex::default(), arrived: Notify::new() }
    }

    /// Puts down that something happened now; or only counts it, if it is one expired clone of too many.
    ///
    /// Never waits for a reader. With nobody waiting it costs a lock.
    pub(crate) fn push(&self, event: Event) {
        self.note(Some(event));
    }

    /// Puts down what was left out during the last second. To be called each second, for when nothing else happens.
    pub(crate) fn tick(&self) {
        self.note(None);
    }

    /// Reads from the oldest event that is left.
    pub(crate) fn read(self: &Arc<Self>) -> Reader {
        Reader { next: self.ring().gone, journal: Arc::clone(self) }
    }

    fn note(&self, event: Option<Event>) {
        let mut ring = self.ring();
        // Under the lock, so that the times are in order.
        let now = self.started.elapsed();
        let mut events = ring.sampler.tick(now.as_secs());
        events.extend(event.and_then(|event| ring.sampler.sample(event)));
        if events.is_empty() {
            return;
        }
        // Milliseconds: nobody reads more.
        let at_seconds = now.as_millis() as f64 / 1000.0;
        for event in events {
            ring.push(Entry { at_seconds, event });
        }
        drop(ring);
        self.arrived.notify_waiters();
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn push(&mut self, entry: Entry) {
        if self.entries.len() == KEPT {
            self.entries.pop_front();
            self.gone += 1;
        }
        self.entries.push_back(entry);
    }

    /// The number of the event to come.
    fn end(&self) -> u64 {
        self.gone + self.entries.len() as u64
    }
}

/// One who reads a [`Journal`], at a pace of its own.
#[derive(Debug)]
pub(crate) struct Reader {
    journal: Arc<Journal>,
    /// The number of the event to read next.
    next: u64,
}

impl Reader {
    /// The next events, `most` at most and perhaps none; if some are lost, first how many.
    pub(crate) fn take(&mut self, most: usize) -> Vec<Entry> {
        let ring = self.journal.ring();
        let lost = ring.gone.saturating_sub(self.next);
        self.next += lost;
        let from = usize::try_from(self.next - ring.gone).unwrap_or(usize::MAX);
        let found = ring.entries.iter().skip(from).take(most);
        self.next += found.len() as u64;
        let gap = ring.entries.front().filter(|_| lost > 0).map(|oldest| Entry {
            at_seconds: oldest.at_seconds,
            event: Event::Skipped { count: lost },
        });
        gap.into_iter().chain(found.cloned()).collect()
    }

    /// Waits until there is something to take.
    pub(crate) async fn wait(&self) {
        self.until(|ring| ring.end() > self.next).await;
    }

    /// Waits until an event is lost to this reader.
    pub(crate) async fn overflow(&self) {
        self.until(|ring| ring.gone > self.next).await;
    }

    async fn until(&self, there: impl Fn(&Ring) -> bool) {
        loop {
            // Made before the look, so that what is pushed after it wakes us.
            let arrived = self.journal.arrived.notified();
            if there(&self.journal.ring()) {
                return;
            }
            arrived.await;
        }
    }
}

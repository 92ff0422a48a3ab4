//! Memory pressure: asked for once a second, and heard of at once where the kernel gives triggers.

use std::{fs::File, path::PathBuf, sync::Arc};

use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::Notify,
};

use super::event_loop::EventLoop;
use crate::{
    events::Event,
    sweep::{
        pressure::{Gauge, Pressure, Reading},
        psi::Sources,
    },
};

/// Names a file to be read in place of the kernel's, for tests and for containers that mount it elsewhere.
const FILE: &str = "ROUTE_CACHE_MEMORY_PRESSURE_FILE";

/// What memory pressure is read from, and what it came to.
pub(super) struct Watch {
    sources: Sources,
    gauge: Gauge,
    level: Pressure,
    woken: Arc<Notify>,
}

impl Watch {
    /// Begins to watch. Needs a tokio runtime.
    pub(super) fn begin(hz: u64) -> Self {
        let sources = std::env::var_os(FILE)
            .filter(|path| !path.is_empty())
            .map_or_else(Sources::find, |path| Sources::only(PathBuf::from(path)));
        if sources.read().is_none() {
            tracing::warn!(
                "the kernel does not tell memory pressure (PSI); going by the fill of the tables alone"
            );
        }
        let woken = Arc::new(Notify::new());
        for trigger in sources.triggers() {
            tokio::spawn(wait(trigger, Arc::clone(&woken)));
        }
        Self { sources, gauge: Gauge::new(hz), level: Pressure::None, woken }
    }

    /// Waits until the kernel says that memory gets short.
    pub(super) fn woken(&self) -> Arc<Notify> {
        Arc::clone(&self.woken)
    }
}

async fn wait(trigger: File, woken: Arc<Notify>) {
    // As in `netlink::Monitor`: the successor of this function is `unsafe` for a reason that does not apply.
    #[expect(deprecated)]
    let trigger = AsyncFd::with_interest(trigger, Interest::PRIORITY);
    let Ok(trigger) = trigger else {
        return;
    };
    while let Ok(mut ready) = trigger.ready(Interest::PRIORITY).await {
        tracing::debug!("the kernel says that tasks wait for memory");
        woken.notify_one();
        ready.clear_ready();
    }
}

impl EventLoop {
    /// Does what the pressure calls for: sweep, shrink, drain.
    pub(super) fn steer_pressure(&mut self) {
        let shared = Arc::clone(&self.shared);
        let reading = Reading { fill: shared.fill(), stall: self.pressure.sources.read() };
        let now = shared.clock.now();
        let level = self.pressure.gauge.read(reading, now);
        shared.note_pressure(level);
        let relief = shared.policy.write().note_pressure(level, now);
        if level != std::mem::replace(&mut self.pressure.level, level) {
            tracing::info!("memory pressure: {}", level.name());
            shared.journal.push(Event::Pressure { level: level.name().into() });
        }
        if let Some(adjustment) = relief.adjusted {
            shared.note_adjustment(adjustment);
        }
        if !relief.drained.is_empty() {
            let cpus = shared.cpus_of(&relief.drained).len();
            tracing::warn!("memory is short: draining the clones of {cpus} CPUs");
            shared.tell_drain(&relief.drained);
        }
        if level != Pressure::None {
            shared.wake_sweepers();
        }
    }
}

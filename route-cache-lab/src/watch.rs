//! Watches an agent: for how long does it have everything passed?

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{Agent, agent};

/// Between two questions.
const PERIOD: Duration = Duration::from_millis(50);

/// Asks an agent over and over whether it accelerates, until this is dropped.
#[derive(Debug)]
pub struct Watch {
    shared: Arc<Shared>,
    asking: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    over: AtomicBool,
    /// Milliseconds.
    longest: AtomicU64,
}

impl Watch {
    /// Begins.
    #[must_use]
    pub fn start(agent: &Agent) -> Self {
        let shared = Arc::new(Shared { over: false.into(), longest: 0.into() });
        let (socket, told) = (agent.control_socket().to_owned(), Arc::clone(&shared));
        Self { shared, asking: Some(thread::spawn(move || ask(&socket, &told))) }
    }

    /// The longest time so far in which everything of IPv4 was left to the kernel, to a twentieth of a second.
    #[must_use]
    pub fn longest_aside(&self) -> Duration {
        Duration::from_millis(self.shared.longest.load(Ordering::Relaxed))
    }
}

fn ask(socket: &Path, shared: &Shared) {
    let mut aside: Option<Instant> = None;
    while !shared.over.load(Ordering::Relaxed) {
        let status = agent::ask(socket, &json!({"command": "status"}));
        if status.is_ok_and(|status| status["accelerating"] == true) {
            aside = None;
        } else {
            let since = aside.get_or_insert_with(Instant::now).elapsed();
            shared.longest.fetch_max(since.as_millis() as u64, Ordering::Relaxed);
        }
        thread::sleep(PERIOD);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        if let Some(asking) = self.asking.take() {
            // It has nothing to panic about.
            let _ = asking.join();
        }
    }
}

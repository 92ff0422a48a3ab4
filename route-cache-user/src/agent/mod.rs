//! Starts the agent, lets it run, and takes everything back at the end.
//!
//! ```text
//! netlink ──► events ─► fib (plan, install)         ┐
//! timer ────► deadline, stale next hops, interlocks ├─ event_loop: the only writer of what the program reads
//! dump ─────► fib (replace, plan, install)          ┘
//! sweepers (one per CPU), control socket, metrics: tasks of their own that read
//! ```

mod event_loop;
mod resync;
mod trace;

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use self::event_loop::EventLoop;
use crate::{
    cli::AgentOptions,
    control,
    dataplane::{
        attach::{Attachments, Wanted},
        clock::Clock,
    },
    fib::{mirror::Fib, tables::Cause},
    maps::{CloneTable, Counters},
    metrics, netns,
    sweep::{self, Sweeper},
    view::View,
};

/// How long the program may believe the tables without hearing from the agent.
pub(crate) const PROMISE: Duration = Duration::from_secs(5);

/// Runs the agent until SIGINT or SIGTERM.
///
/// # Errors
///
/// Anything that keeps it from starting; nothing is left behind then.
pub(crate) fn run(options: AgentOptions) -> Result<()> {
    let wanted = Wanted::new(options.interfaces.clone());
    // The listeners belong to the namespace the agent was started in; all else to the one it serves.
    let metrics_listener = metrics::bind(options.listen_address)?;
    let (control_listener, _removed_at_the_end) = control::bind(&options.control_socket)?;
    if let Some(name) = &options.netns {
        netns::enter(name)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let served = runtime.block_on(async {
        let (mut event_loop, shared) = EventLoop::start(options, wanted)?;
        let source: Arc<View> = Arc::new(View::new(Arc::clone(&shared)));
        let policy = Arc::new(sweep::Policy::new(&shared));
        for index in 0..shared.clones.len() {
            tokio::spawn(sweep::run(Arc::clone(&shared), Arc::clone(&policy), index));
        }
        let never = std::future::pending::<()>;
        let asked = Arc::<View>::clone(&source);
        tokio::spawn(control::serve(control_listener, asked, control::Limits::default(), never()));
        tokio::spawn(metrics::serve(metrics_listener, source, metrics::Limits::default(), never()));
        let served = event_loop.serve().await;
        event_loop.stop();
        served
    });
    // A walk or a scrape may still be under way; nothing depends on its end.
    runtime.shutdown_timeout(Duration::from_secs(1));
    served
}

/// What the tasks share.
pub(crate) struct Shared {
    /// As given on the command line.
    pub(crate) options: AgentOptions,
    /// Since when the agent runs.
    pub(crate) started: Instant,
    /// Tells jiffies.
    pub(crate) clock: Clock,
    /// Clones by CPU.
    pub(crate) clones: Vec<CloneTable>,
    /// Sweepers by CPU.
    pub(crate) sweepers: Vec<Sweeper>,
    /// What the program counts.
    pub(crate) counters: Counters,
    state: RwLock<State>,
}

/// What the event loop writes and others read.
pub(crate) struct State {
    /// The mirror.
    pub(crate) fib: Fib,
    /// Interfaces the program is attached to.
    pub(crate) attachments: Attachments,
    /// Full dumps by cause.
    pub(crate) resyncs: BTreeMap<Cause, u64>,
    /// Times the kernel dropped messages.
    pub(crate) overruns: u64,
}

impl Shared {
    /// The state, for reading. Hold it briefly: the event loop waits meanwhile.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Starts the agent, lets it run, and takes everything back at the end.
//!
//! ```text
//! netlink ──► events ─► fib (plan, install)         ┐
//! timer ────► deadline, stale next hops, interlocks ├─ event_loop: the only writer of what the program reads
//! dump ─────► fib (replace, plan, install)          ┘
//! sweepers (one per CPU), audit, control socket, metrics: tasks of their own that read
//! ```

mod asking;
mod breaker;
mod egress_breaker;
mod event_loop;
pub(crate) mod orders;
mod pressure;
mod probe_schedule;
mod probes;
pub(crate) mod redirects;
mod resync;
mod trace;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use route_cache_common::{Tally, V4, V6};

use self::{event_loop::EventLoop, orders::Orders};
use crate::{
    audit::{self, Audit},
    cli::AgentOptions,
    control,
    dataplane::{
        attach::{Attachments, Wanted},
        clock::Clock,
    },
    events::{Direction, Event, Journal},
    fib::{
        family::{IpFamily, NetFamily, PerFamily},
        mirror::Fib,
        tables::Cause,
    },
    maps::{CloneTables, Counters, FlowTables, Generations},
    metrics::{self, Measured},
    netns,
    sweep::{self, Policy, Sweeper, life::Adjustment, pressure::Pressure},
    sys, turns,
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
    turns::short();
    sys::give_back_large_blocks();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let served = runtime.block_on(async {
        let (mut event_loop, shared) = EventLoop::start(options, wanted)?;
        let source: Arc<View> = Arc::new(View::new(Arc::clone(&shared)));
        for cpu in 0..shared.clones.cpus() {
            tokio::spawn(sweep::run::<V4>(Arc::clone(&shared), cpu));
            tokio::spawn(sweep::run::<V6>(Arc::clone(&shared), cpu));
        }
        tokio::spawn(audit::run(Arc::clone(&shared)));
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
    options: RwLock<Arc<AgentOptions>>,
    /// Since when the agent runs.
    pub(crate) started: Instant,
    /// Tells jiffies.
    pub(crate) clock: Clock,
    /// When clones expire.
    pub(crate) policy: Policy,
    /// Clones by family and CPU.
    pub(crate) clones: CloneTables,
    /// The generations, as the program sees them.
    pub(crate) generations: Generations,
    /// Flows by family and CPU.
    pub(crate) flows: FlowTables,
    /// Sweepers by CPU.
    pub(crate) sweepers: PerFamily<Vec<Sweeper>>,
    /// What the program counts.
    pub(crate) counters: Counters,
    /// What happens, for those who watch.
    pub(crate) journal: Arc<Journal>,
    /// Where orders are given.
    pub(crate) orders: Orders,
    /// Whether the kernel agrees with the clones.
    pub(crate) audit: Audit,
    /// Durations.
    pub(crate) measured: Measured,
    /// Flags of the config line, as last written.
    flags: AtomicU64,
    deadline: AtomicU64,
    pressure: AtomicU8,
    adjustments: [AtomicU64; 2],
    state: RwLock<State>,
}

/// A change of the timeout, in seconds.
fn timeout_event(from: u64, to: u64, direction: Direction) -> Event {
    Event::Timeout { from_seconds: from as f64, to_seconds: to as f64, direction }
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
    /// Redirects that came to nothing, as of the last second; or why they are not counted.
    pub(crate) redirect_errors: Result<redirects::Errors, String>,
}

impl Shared {
    /// The settings in force, from all sources.
    pub(crate) fn options(&self) -> Arc<AgentOptions> {
        Arc::clone(&self.options.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set_options(&self, options: AgentOptions) {
        *self.options.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(options);
    }

    /// The place of a table among all that the policy knows.
    pub(crate) fn table_index(&self, family: IpFamily, cpu: usize) -> usize {
        match family {
            IpFamily::V4 => cpu,
            IpFamily::V6 => self.clones.cpus() + cpu,
        }
    }

    /// The CPUs of tables that the policy names.
    fn cpus_of(&self, tables: &[usize]) -> BTreeSet<usize> {
        tables.iter().map(|index| index % self.clones.cpus().max(1)).collect()
    }

    /// How full the fullest clone table is: 0 to 1. A counter that cannot be read counts as empty.
    pub(crate) fn fill(&self) -> f64 {
        self.fill_of::<V4>().max(self.fill_of::<V6>())
    }

    fn fill_of<F: NetFamily>(&self) -> f64 {
        let live = self.live::<F>().unwrap_or_default();
        let fills = F::clones(&self.clones).iter().zip(live);
        fills.map(|(table, live)| live as f64 / f64::from(table.capacity)).fold(0.0, f64::max)
    }

    /// Clones of a family, by CPU.
    ///
    /// The program counts both families together: of IPv6 the last walk tells how many there are.
    pub(crate) fn live<F: NetFamily>(&self) -> Result<Vec<u64>> {
        let created = self.counters.tally(Tally::CloneCreated)?;
        let live = created.into_iter().enumerate().map(|(cpu, created)| {
            let (Some(v4), Some(v6)) = (self.clones.v4.get(cpu), self.clones.v6.get(cpu)) else {
                return 0;
            };
            // Removals are counted a batch at a time, while the program fills the room already.
            let both = created.saturating_sub(v4.removed() + v6.removed());
            let last = self.sweepers.v6.get(cpu).map(Sweeper::last_walk).unwrap_or_default();
            let live6 = last.found.saturating_sub(last.killed).min(both);
            match F::FAMILY {
                IpFamily::V4 => (both - live6).min(v4.capacity.into()),
                IpFamily::V6 => live6,
            }
        });
        Ok(live.collect())
    }

    /// Flags of the config line: what stands in front of the routes.
    pub(crate) fn flags(&self) -> u64 {
        self.flags.load(Ordering::Relaxed)
    }

    fn note_flags(&self, flags: u64) {
        self.flags.store(flags, Ordering::Relaxed);
    }

    /// Jiffies up to which the tables are vouched for.
    pub(crate) fn deadline(&self) -> u64 {
        self.deadline.load(Ordering::Relaxed)
    }

    fn note_deadline(&self, deadline: u64) {
        self.deadline.store(deadline, Ordering::Relaxed);
    }

    /// The level of memory pressure.
    pub(crate) fn pressure(&self) -> Pressure {
        let level = usize::from(self.pressure.load(Ordering::Relaxed));
        Pressure::ALL.get(level).copied().unwrap_or(Pressure::None)
    }

    fn note_pressure(&self, level: Pressure) {
        self.pressure.store(level as u8, Ordering::Relaxed);
    }

    /// Timeouts shrunk, and grown back, since start.
    pub(crate) fn adjustments(&self) -> [u64; 2] {
        self.adjustments.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    /// Counts and tells a change of the timeout that nobody ordered.
    pub(crate) fn note_adjustment(&self, adjustment: Adjustment) {
        let grew = adjustment.to > adjustment.from;
        self.adjustments[usize::from(grew)].fetch_add(1, Ordering::Relaxed);
        let word = if grew { "recovers" } else { "shrinks" };
        tracing::info!("rtexpire {word}: {} -> {}", adjustment.from, adjustment.to);
        let direction = if grew { Direction::Recovered } else { Direction::Shrunk };
        self.journal.push(timeout_event(adjustment.from.0, adjustment.to.0, direction));
    }

    /// The state, for reading. Hold it briefly: the event loop waits meanwhile.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

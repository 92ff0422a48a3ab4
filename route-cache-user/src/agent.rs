//! Starts the agent, runs its event loop, and takes everything back at the end.
//!
//! ```text
//! netlink ──► events ─► fib (plan, install)        ┐
//! timer ────► deadline, stale next hops, interlocks ├─ one task, the only writer of what the program reads
//! dump ─────► fib (replace, plan, install)          ┘
//! sweepers (one per CPU), control socket, metrics: tasks of their own that read
//! ```

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use route_cache_common::Config;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinHandle,
};

use crate::{
    cli::AgentOptions,
    control,
    dataplane::{
        Dataplane, Sizes,
        attach::{Attachments, Wanted},
        clock::{Clock, ClockReader},
        forwarder,
    },
    fib::{
        dump,
        install::Written,
        interlock,
        message::{Event, Link},
        netlink::{Batch, Dumper, Monitor, Received},
        plan::{Fib, Limits},
        tables::{Cause, Tables},
    },
    maps::{CloneTable, Counters, Writer},
    metrics, netns,
    sweep::{self, Sweeper},
    view::View,
};

/// How long the program may believe the tables without hearing from the agent.
pub(crate) const PROMISE: Duration = Duration::from_secs(5);

/// How often the promise is renewed, and what cannot be heard is asked for.
const TICK: Duration = Duration::from_secs(1);

/// Batches taken in before a promise; if there is more, the promise waits for the next tick.
const CATCH_UP: u32 = 64;

/// Least time between the starts of two dumps.
const RESYNC_INTERVAL: Duration = Duration::from_secs(1);

/// Netlink receive buffer: 100,000 route changes take about 80 MB of it.
const RECEIVE_BUFFER: usize = 128 << 20;

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
        let (mut agent, shared) = Agent::start(options, wanted)?;
        let source: Arc<View> = Arc::new(View::new(Arc::clone(&shared)));
        for index in 0..shared.clones.len() {
            tokio::spawn(sweep::run(Arc::clone(&shared), index));
        }
        let never = std::future::pending::<()>;
        let asked = Arc::<View>::clone(&source);
        tokio::spawn(control::serve(control_listener, asked, control::Limits::default(), never()));
        tokio::spawn(metrics::serve(metrics_listener, source, metrics::Limits::default(), never()));
        let served = agent.serve().await;
        agent.stop();
        served
    });
    // A walk or a scrape may still be under way; nothing depends on its end.
    runtime.shutdown_timeout(Duration::from_secs(1));
    served
}

/// The event loop and what it alone owns.
struct Agent {
    shared: Arc<Shared>,
    wanted: Wanted,
    ebpf: aya::Ebpf,
    writer: Writer,
    clock_reader: ClockReader,
    config: Config,
    monitor: Monitor,
    /// For questions about single neighbours.
    dumper: Dumper,
    resync: Resync,
    interlocks: Option<JoinHandle<Result<interlock::Found>>>,
}

/// When the next dump is to start, and what came in since the present one did.
#[derive(Default)]
struct Resync {
    wanted: Option<Cause>,
    last_start: Option<Instant>,
    running: Option<JoinHandle<Result<Tables>>>,
    meanwhile: Vec<Event>,
}

impl Agent {
    fn start(options: AgentOptions, wanted: Wanted) -> Result<(Self, Arc<Shared>)> {
        let sizes = Sizes {
            clones_per_cpu: options.clones_per_cpu,
            routes: options.max_routes,
            hops: options.max_next_hops,
        };
        // Subscribe first, then dump: nothing is missed in between.
        let monitor = Monitor::open(RECEIVE_BUFFER)?;
        let tables = dump::all().context("cannot read the kernel's tables")?;
        wanted.check(tables.links.values().map(|link| link.name.as_str()))?;
        let traced = options.trace_packets.is_some();
        let Dataplane { mut ebpf, writer, clones, counters, clock_reader, clock } =
            Dataplane::load(sizes, traced)?;
        if traced {
            trace_packets(&mut ebpf)?;
        }
        let limits =
            Limits { routes: sizes.routes, hops: sizes.hops, bypass: options.bypass_netfilter };
        let config =
            Config { trace_every: options.trace_packets.unwrap_or(0).into(), ..Config::default() };
        let state = State {
            fib: Fib::new(limits),
            attachments: Attachments::new(forwarder(traced), options.xdp_mode),
            resyncs: BTreeMap::new(),
            overruns: 0,
        };
        let shared = Arc::new(Shared {
            started: Instant::now(),
            clock,
            sweepers: clones.iter().map(|_| Sweeper::default()).collect(),
            clones,
            counters,
            state: RwLock::new(state),
            options,
        });
        let mut agent = Self {
            shared: Arc::clone(&shared),
            wanted,
            ebpf,
            writer,
            clock_reader,
            config,
            monitor,
            dumper: Dumper::open().context("cannot open a netlink socket")?,
            resync: Resync::default(),
            interlocks: None,
        };
        agent.begin(tables)?;
        Ok((agent, shared))
    }

    /// Attaches, fills the maps, and only then makes the first promise.
    fn begin(&mut self, tables: Tables) -> Result<()> {
        let wanted: Vec<_> =
            tables.links.values().filter(|link| self.wanted.matches(&link.name)).cloned().collect();
        let shared = Arc::clone(&self.shared);
        let mut state = shared.write();
        for link in &wanted {
            state.attachments.attach(&mut self.ebpf, link)?;
            state.fib.set_attached(link.ifindex, true);
            tracing::info!("attached to {} ({})", link.name, state.attachments.mode_name());
        }
        let found = interlock::poll(&tables.link_names(), self.shared.options.bypass_netfilter)?;
        state.fib.set_interlocks(found);
        *state.resyncs.entry(Cause::Start).or_default() += 1;
        state.fib.replace(tables);
        self.install(&mut state)?;
        drop(state);
        self.promise()?;
        let state = self.shared.read();
        match state.fib.reasons().as_slice() {
            [] => tracing::info!("forwarding: {} routes mirrored", state.fib.installed.len()),
            reasons => tracing::warn!("everything passes to the kernel: {}", reasons.join("; ")),
        }
        Ok(())
    }

    async fn serve(&mut self) -> Result<()> {
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
        let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut events = Vec::new();
        loop {
            let resync_at = self.resync.due();
            tokio::select! {
                biased;
                _ = interrupt.recv() => return Ok(()),
                _ = terminate.recv() => return Ok(()),
                _ = tick.tick() => self.tick(&mut events)?,
                received = self.monitor.next(&mut events) => {
                    self.hear(received.context("cannot listen to the kernel any more")?, &mut events);
                }
                tables = finished(&mut self.resync.running) => self.resynced(tables),
                found = finished(&mut self.interlocks) => self.polled(found),
                () = sleep_until(resync_at) => self.start_resync(),
            }
        }
    }

    /// Renews the promise, and asks for what the kernel does not tell by itself.
    ///
    /// The promise is that the tables are those of now: it is given only when all that the kernel has said was taken in.
    /// An agent that was stopped would else vouch for what is old.
    fn tick(&mut self, events: &mut Vec<Event>) -> Result<()> {
        if self.catch_up(events)?
            && let Err(error) = self.promise()
        {
            tracing::error!(
                "cannot renew the promise to the data plane; it will pass everything: {error:#}"
            );
        }
        self.confirm_stale();
        if self.interlocks.is_none() {
            let (shared, bypass) = (Arc::clone(&self.shared), self.shared.options.bypass_netfilter);
            self.interlocks = Some(tokio::task::spawn_blocking(move || {
                let names = shared.read().fib.tables.link_names();
                interlock::poll(&names, bypass)
            }));
        }
        if self.shared.read().fib.may_fit_now() {
            self.want_resync(Cause::Doubt);
        }
        Ok(())
    }

    /// Takes in what the kernel has said by now. Returns whether that was all.
    fn catch_up(&mut self, events: &mut Vec<Event>) -> Result<bool> {
        for _ in 0..CATCH_UP {
            let batch = self.monitor.queued(events);
            let Batch { received, is_all } =
                batch.context("cannot listen to the kernel any more")?;
            if received != Received::Events || !events.is_empty() {
                self.hear(received, events);
            }
            if is_all {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn promise(&mut self) -> Result<()> {
        let reading = self.clock_reader.read(&mut self.ebpf)?;
        self.shared.clock.set(reading);
        self.config.deadline = reading.jiffies + self.shared.clock.seconds(PROMISE.as_secs());
        self.writer.write_config(&self.config)
    }

    /// Takes in what the kernel said.
    fn hear(&mut self, received: Received, events: &mut Vec<Event>) {
        let doubt = match received {
            Received::Events => None,
            Received::Overrun => Some(Cause::Overrun),
            Received::Doubt(what) => {
                tracing::warn!(
                    "a netlink message could not be read; reading the tables anew: {what}"
                );
                Some(Cause::Doubt)
            }
        };
        let shared = Arc::clone(&self.shared);
        let mut state = shared.write();
        let mut causes: Vec<_> = doubt.into_iter().collect();
        if doubt == Some(Cause::Overrun) {
            state.overruns += 1;
            tracing::warn!("the kernel dropped netlink messages; reading the tables anew");
        }
        for event in events.drain(..) {
            if self.resync.running.is_some() {
                self.resync.meanwhile.push(event.clone());
            }
            self.follow_link(&mut state, &event);
            causes.extend(state.fib.apply(event));
        }
        for cause in causes {
            if cause.distrusts() {
                state.fib.distrust(cause);
            }
            self.want_resync(cause);
        }
        self.install_or_distrust(&mut state);
    }

    /// Attaches to interfaces that appear and match, lets go of those that vanish or are renamed away.
    fn follow_link(&mut self, state: &mut State, event: &Event) {
        match event {
            // One that was renamed away stays attached: it is the interface that was asked for.
            Event::Link(link)
                if self.wanted.matches(&link.name)
                    && !state.attachments.is_attached(link.ifindex) =>
            {
                self.attach_late(state, link);
            }
            Event::LinkGone(ifindex) if state.attachments.detach(*ifindex) => {
                tracing::info!("let go of {}, which is gone", state.fib.tables.link_name(*ifindex));
                state.fib.set_attached(*ifindex, false);
            }
            _ => {}
        }
    }

    fn attach_late(&mut self, state: &mut State, link: &Link) {
        let failed_before = state.attachments.failure(link.ifindex).map(str::to_owned);
        match state.attachments.attach(&mut self.ebpf, link) {
            Ok(()) => {
                state.fib.set_attached(link.ifindex, true);
                tracing::info!("attached to {} ({})", link.name, state.attachments.mode_name());
            }
            Err(error) => {
                let error = format!("{error:#}");
                if failed_before.as_ref() != Some(&error) {
                    tracing::warn!("not attached: {error}");
                }
            }
        }
    }

    fn want_resync(&mut self, cause: Cause) {
        self.resync.wanted.get_or_insert(cause);
    }

    fn start_resync(&mut self) {
        let Some(cause) = self.resync.wanted.take() else {
            return;
        };
        *self.shared.write().resyncs.entry(cause).or_default() += 1;
        tracing::debug!("reading the kernel's tables ({})", cause.name());
        self.resync.last_start = Some(Instant::now());
        self.resync.meanwhile.clear();
        self.resync.running = Some(tokio::task::spawn_blocking(dump::all));
    }

    /// The dump is in: what happened since it began is repeated on it, then it takes the place of what was known.
    fn resynced(&mut self, tables: Result<Tables>) {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.write();
        match tables {
            Ok(mut tables) => {
                for event in self.resync.meanwhile.drain(..) {
                    // Its causes were heard when it came.
                    let _heard = tables.apply(event);
                }
                state.fib.replace(tables);
                if let Some(cause) = self.resync.wanted.filter(|cause| cause.distrusts()) {
                    state.fib.distrust(cause);
                }
                self.install_or_distrust(&mut state);
            }
            Err(error) => {
                tracing::warn!("cannot read the kernel's tables; trying again: {error:#}");
                state.fib.distrust(Cause::Doubt);
                self.want_resync(Cause::Doubt);
                self.install_or_distrust(&mut state);
            }
        }
    }

    fn polled(&mut self, found: Result<interlock::Found>) {
        let found = found.unwrap_or_else(|error| interlock::Found {
            everywhere: vec![format!("it cannot be told what XDP would bypass: {error:#}")],
            ..interlock::Found::default()
        });
        let shared = Arc::clone(&self.shared);
        let mut state = shared.write();
        if state.fib.interlocks == found {
            return;
        }
        for reason in found
            .everywhere
            .iter()
            .filter(|reason| !state.fib.interlocks.everywhere.contains(reason))
        {
            tracing::warn!("IPv4 passes to the kernel: {reason}");
        }
        if found.everywhere.is_empty() && !state.fib.interlocks.everywhere.is_empty() {
            tracing::info!("nothing that XDP would bypass is left");
        }
        state.fib.set_interlocks(found);
        self.install_or_distrust(&mut state);
    }

    /// Installs what changed. What cannot be written cannot be vouched for.
    fn install_or_distrust(&mut self, state: &mut State) {
        if let Err(error) = self.install(state) {
            tracing::error!(
                "cannot write to the data plane; everything passes until the tables are read anew: {error:#}"
            );
            state.fib.distrust(Cause::Doubt);
            self.want_resync(Cause::Doubt);
            self.config.flags = 0;
            if let Err(error) = self.writer.write_config(&self.config) {
                tracing::error!(
                    "cannot even stop the data plane; its promise runs out in {PROMISE:?}: {error:#}"
                );
            }
        }
    }

    fn install(&mut self, state: &mut State) -> Result<()> {
        let plan = state.fib.plan();
        // The program stops at once where the plan says so; where the plan lets it go on, that is written last.
        if plan.flags & Config::ACCELERATE4 == 0 && self.config.flags & Config::ACCELERATE4 != 0 {
            self.config.flags = plan.flags;
            self.writer.write_config(&self.config)?;
        }
        if self.writer.install(&plan, &mut self.config)? == Written::Full {
            state.fib.set_full("the kernel has no room for all routes (--max-routes)");
            self.config.flags = 0;
            self.writer.write_config(&self.config)?;
        }
        if !plan.generations.is_empty() {
            self.shared.sweepers.iter().for_each(Sweeper::call);
        }
        Ok(())
    }

    /// Has the kernel confirm the stale next hops that carried packets, as a packet of its own would (row 32).
    fn confirm_stale(&mut self) {
        use route_cache_common::next_hop::NextHopVersion;
        let shared = Arc::clone(&self.shared);
        let state = shared.read();
        for (key, hop) in state.fib.hops.iter() {
            if hop.version().flags & NextHopVersion::STALE == 0 {
                continue;
            }
            let index = hop.id.index();
            if !matches!(self.writer.touched.get(&index, 0), Ok(mark) if mark != 0) {
                continue;
            }
            let confirmed = match state.fib.tables.neighbour_of(*key) {
                Ok((ifindex, address)) => self.dumper.confirm_neighbour(ifindex, address),
                Err(_) => continue,
            };
            match confirmed {
                Ok(_asked) => {
                    if let Err(error) = self.writer.touched.set(index, 0, 0) {
                        tracing::warn!("cannot clear the mark of next hop {index}: {error}");
                    }
                }
                Err(error) => tracing::debug!("cannot have next hop {index} confirmed: {error}"),
            }
        }
    }

    /// Detaches everywhere and takes the promise back.
    fn stop(&mut self) {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.write();
        self.config.deadline = 0;
        if let Err(error) = self.writer.write_config(&self.config) {
            tracing::warn!("cannot take the promise back: {error:#}");
        }
        let interfaces: Vec<_> = state.fib.tables.links.keys().copied().collect();
        for ifindex in interfaces {
            if state.attachments.detach(ifindex) {
                tracing::info!("detached from {}", state.fib.tables.link_name(ifindex));
            }
        }
    }
}

impl Resync {
    fn due(&self) -> Option<Instant> {
        if self.running.is_some() {
            return None;
        }
        self.wanted?;
        let now = Instant::now();
        Some(self.last_start.map_or(now, |last| (last + RESYNC_INTERVAL).max(now)))
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// Waits for a task on the side, and takes it away once it is done.
async fn finished<T>(task: &mut Option<JoinHandle<Result<T>>>) -> Result<T> {
    let joined = match task.as_mut() {
        Some(handle) => handle.await,
        None => std::future::pending().await,
    };
    *task = None;
    joined.context("a task broke off")?
}

/// Forwards what the traced program logs to the log.
fn trace_packets(ebpf: &mut aya::Ebpf) -> Result<()> {
    let logger = aya_log::EbpfLogger::init(ebpf).context("cannot read the program's log")?;
    // The successor is `unsafe`, for descriptors that are replaced or closed while tokio waits for them; this one is
    // owned and neither happens.
    #[expect(deprecated)]
    let logger = tokio::io::unix::AsyncFd::new(logger);
    let mut logger = logger.context("cannot wait for the program's log")?;
    tokio::spawn(async move {
        while let Ok(mut ready) = logger.readable_mut().await {
            ready.get_inner_mut().flush();
            ready.clear_ready();
        }
    });
    Ok(())
}

//! The sweeper of one CPU table as a state machine. What has been begun ends by handing back its ticket; there is one
//! ticket at a time, so that a walk is not started twice (S19).

/// What a walk is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Its time has come (S12).
    Due,
    /// The second walk of S11, which finds what the shrunk timeout lets expire.
    Updating,
    /// Every clone goes (S13).
    Drain,
}

/// Permission to walk the table of one CPU. Not `Clone`: it is given back at the end of the walk.
#[derive(Debug)]
#[must_use = "the table is not walked again until the ticket is given back"]
pub(crate) struct WalkTicket {
    pub(super) cpu: usize,
    pub(super) purpose: Purpose,
}

impl WalkTicket {
    /// What the walk is for.
    pub(crate) const fn purpose(&self) -> Purpose {
        self.purpose
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Walking,
    Draining,
}

/// The timer and the state of one CPU table. All times are in jiffies.
#[derive(Debug)]
pub(super) struct Cpu {
    state: State,
    /// When the next walk is due. While one is under way: by when the next has been called, if it has.
    due: Option<u64>,
    is_updating: bool,
    last_walk: Option<u64>,
    drain_due: Option<u64>,
    /// The second of the last drain, for S13.
    drained_in: Option<u64>,
    /// The first and the last of the walks in a row that left little.
    quiet: Option<(u64, u64)>,
}

impl Cpu {
    /// S10: the first walk is due at once.
    pub(super) const fn new(now: u64) -> Self {
        Self {
            state: State::Idle,
            due: Some(now),
            is_updating: false,
            last_walk: None,
            drain_due: None,
            drained_in: None,
            quiet: None,
        }
    }

    /// When to call [`Cpu::begin`], if it is not busy.
    pub(super) fn wake(&self) -> Option<u64> {
        match self.state {
            State::Idle => self.due.into_iter().chain(self.drain_due).min(),
            State::Walking | State::Draining => None,
        }
    }

    /// Begins what is due: a drain before a walk.
    pub(super) fn begin(&mut self, now: u64) -> Option<Purpose> {
        let is_due = |time: &u64| *time <= now;
        if self.state != State::Idle {
            return None;
        }
        if self.drain_due.take_if(|time| is_due(time)).is_some() {
            self.state = State::Draining;
            return Some(Purpose::Drain);
        }
        self.due.take_if(|time| is_due(time))?;
        self.state = State::Walking;
        Some(if std::mem::take(&mut self.is_updating) { Purpose::Updating } else { Purpose::Due })
    }

    /// The walk has ended; the next is due at `next`, or earlier if called meanwhile, but not at once.
    pub(super) fn end_walk(&mut self, next: u64, now: u64, second: u64) {
        let called = self.due.take().map(|due| due.max(now.saturating_add(second)));
        self.due = Some(called.map_or(next, |due| due.min(next)));
        self.last_walk = Some(now);
        self.state = State::Idle;
    }

    /// The walk has ended, and another is due at once (S11).
    pub(super) fn end_walk_and_update(&mut self, now: u64) {
        self.is_updating = true;
        self.due = Some(now);
        self.last_walk = Some(now);
        self.state = State::Idle;
    }

    /// The drain has ended. It does not touch the timer of the walks.
    pub(super) const fn end_drain(&mut self) {
        self.state = State::Idle;
    }

    /// What was under way broke off: it is due again in a second.
    pub(super) fn break_off(&mut self, purpose: Purpose, now: u64, second: u64) {
        let again = now.saturating_add(second);
        match purpose {
            Purpose::Drain => {
                self.drain_due = Some(again);
                self.end_drain();
            }
            Purpose::Due | Purpose::Updating => self.end_walk(again, now, second),
        }
    }

    /// A walk left little, or not.
    pub(super) fn note_quiet(&mut self, is_quiet: bool, now: u64) {
        self.quiet = is_quiet.then_some((self.quiet.map_or(now, |(first, _)| first), now));
    }

    /// For how long walks are known to have left little: what came after the last one is not known.
    pub(super) fn quiet_for(&self) -> Option<u64> {
        self.quiet.map(|(first, last)| last.saturating_sub(first))
    }

    /// The next walk is due at `time` at the latest.
    pub(super) fn call_by(&mut self, time: u64) {
        // None only while a walk is under way: then this is the first call.
        self.due = Some(self.due.map_or(time, |due| due.min(time)));
    }

    /// The next walk is due now, but a second lies between two walks.
    pub(super) fn call(&mut self, now: u64, second: u64) {
        let soonest = self.last_walk.map_or(now, |last| now.max(last.saturating_add(second)));
        self.call_by(soonest);
    }

    /// S13: a drain is due now, unless one is, is under way, or was in this same second of the clock. Whether it is.
    pub(super) fn drain(&mut self, now: u64, second: u64) -> bool {
        let this = now / second.max(1);
        if self.state == State::Draining
            || self.drain_due.is_some()
            || self.drained_in == Some(this)
        {
            return false;
        }
        self.drain_due = Some(now);
        self.drained_in = Some(this);
        true
    }
}

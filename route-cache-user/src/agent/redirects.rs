//! Redirects that came to nothing: told, and an egress that fails again and again taken out of use.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use nix::errno::Errno;
use route_cache_common::{Outcome, RedirectError};

use super::{
    State,
    egress_breaker::{Breaker, Rates, Step},
    event_loop::EventLoop,
};
use crate::{
    events::Event as Happening,
    fib::message::{Event, Ifindex},
    maps::{Counters, RedirectErrors},
};

/// After so long without one, an error of the same cause is news.
const QUIET: Duration = Duration::from_mins(1);

/// Packets since start, by interface and cause.
pub(crate) type Errors = BTreeMap<RedirectError, u64>;

/// What the event loop remembers of redirects from one second to the next.
pub(super) struct Watch {
    counters: Option<RedirectErrors>,
    breaker: Breaker,
    read: Instant,
    errors: Errors,
    forwarded: u64,
    /// When each last happened.
    last: BTreeMap<RedirectError, Instant>,
}

impl Watch {
    /// Begins; or says once why it cannot, and that sentence is what `status` shows.
    pub(super) fn begin(counters: Result<RedirectErrors>) -> (Self, Result<Errors, String>) {
        let counters = counters.map_err(|error| {
            let why = format!("{error:#}");
            tracing::warn!("redirects that fail are not counted: {why}");
            why
        });
        let shown = counters.as_ref().map(|_| Errors::new()).map_err(String::clone);
        let watch = Self {
            counters: counters.ok(),
            breaker: Breaker::default(),
            read: Instant::now(),
            errors: Errors::new(),
            forwarded: 0,
            last: BTreeMap::new(),
        };
        (watch, shown)
    }

    /// The errors since the last time, and what interfaces had of them.
    fn look(&mut self, counters: &Counters, now: Instant) -> Result<Option<Seen>> {
        let Some(map) = &self.counters else {
            return Ok(None);
        };
        let errors = map.read()?;
        let forwarded = forwarded(counters)?;
        let seconds = now.duration_since(self.read).as_secs_f64().max(0.1);
        self.read = now;
        let known = std::mem::replace(&mut self.errors, errors);
        let new: Errors = self
            .errors
            .iter()
            .map(|(error, count)| {
                (*error, count.saturating_sub(known.get(error).copied().unwrap_or(0)))
            })
            .filter(|(_, count)| *count > 0)
            .collect();
        let before = std::mem::replace(&mut self.forwarded, forwarded);
        let all = forwarded.saturating_sub(before) as f64 / seconds;
        let mut rates = BTreeMap::<Ifindex, Rates>::new();
        for (error, count) in &new {
            let rate = *count as f64 / seconds;
            let of_interface = rates.entry(error.ifindex).or_default();
            of_interface.forwarded = all;
            match error.cause {
                // The ingress is at fault, or the program.
                RedirectError::EXCEPTION => {}
                RedirectError::DROPPED => of_interface.dropped += rate,
                _ => of_interface.failed += rate,
            }
        }
        Ok(Some(Seen { new, rates }))
    }

    /// Drops the counters of interfaces that are gone.
    fn clean(&mut self, is_there: impl Fn(Ifindex) -> bool) -> Result<()> {
        let Some(map) = &mut self.counters else {
            return Ok(());
        };
        let gone: BTreeSet<_> =
            self.errors.keys().filter(|error| !is_there(error.ifindex)).copied().collect();
        for error in gone {
            map.forget(error)?;
            self.errors.remove(&error);
            self.last.remove(&error);
        }
        Ok(())
    }
}

struct Seen {
    new: Errors,
    rates: BTreeMap<Ifindex, Rates>,
}

/// The name of a cause, as metrics and JSON have it: `ENXIO` and its like, `dropped` or `exception`.
pub(crate) fn cause_name(cause: u32) -> String {
    match cause {
        RedirectError::DROPPED => "dropped".into(),
        RedirectError::EXCEPTION => "exception".into(),
        errno => match Errno::from_raw(errno.cast_signed()) {
            Errno::UnknownErrno => format!("errno_{errno}"),
            known => format!("{known:?}"),
        },
    }
}

fn forwarded(counters: &Counters) -> Result<u64> {
    let outcomes = [Outcome::ForwardedFlow, Outcome::ForwardedClone, Outcome::ForwardedRoute];
    outcomes.iter().map(|outcome| Ok(counters.outcome(*outcome)?.packets)).sum()
}

impl EventLoop {
    /// Looks at the redirects of the last second.
    pub(super) fn watch_redirects(&mut self) {
        let now = Instant::now();
        let seen = match self.redirects.look(&self.shared.counters, now) {
            Ok(Some(seen)) => seen,
            Ok(None) => return,
            Err(error) => {
                tracing::debug!("cannot tell which redirects failed: {error:#}");
                return;
            }
        };
        let steps = self.redirects.breaker.judge(now, &seen.rates);
        for (ifindex, _) in seen.rates.iter().filter(|(_, rates)| rates.failed > 0.0) {
            self.hurry_probe(*ifindex);
        }
        let shared = Arc::clone(&self.shared);
        let mut state = shared.write();
        let links = &state.fib.tables.links;
        if let Err(error) = self.redirects.clean(|ifindex| links.contains_key(&ifindex)) {
            tracing::debug!("{error:#}");
        }
        self.tell_errors(&state, &seen.new, now);
        state.redirect_errors = Ok(self.redirects.errors.clone());
        if steps.is_empty() {
            return;
        }
        for (ifindex, step) in steps {
            self.take(&mut state, ifindex, step, &seen.new);
        }
        self.install_or_distrust(&mut state);
    }

    /// Puts down errors that are news.
    fn tell_errors(&mut self, state: &State, new: &Errors, now: Instant) {
        for (error, count) in new {
            let last = self.redirects.last.insert(*error, now);
            if last.is_some_and(|last| now.duration_since(last) < QUIET) {
                continue;
            }
            let dev = state.fib.tables.link_name(error.ifindex);
            let cause = cause_name(error.cause);
            tracing::warn!("{count} redirected packets lost at {dev} ({cause})");
            self.shared.journal.push(Happening::RedirectErrors { dev, cause, count: *count });
        }
    }

    fn take(&self, state: &mut State, ifindex: Ifindex, step: Step, new: &Errors) {
        let dev = state.fib.tables.link_name(ifindex);
        let (reason, word) = match step {
            Step::Open(back_off) => {
                let here = || new.iter().filter(|(error, _)| error.ifindex == ifindex);
                let count: u64 = here().map(|(_, count)| count).sum();
                let most = here().max_by_key(|(_, count)| **count);
                let cause = most.map_or_else(String::new, |(error, _)| cause_name(error.cause));
                let reason = format!(
                    "redirects to {dev} fail ({cause}): {count} in the last second; tried again after {} s",
                    back_off.as_secs()
                );
                tracing::warn!("{reason}");
                (Some(reason), "out of use")
            }
            Step::Try => {
                tracing::info!("redirecting to {dev} again, to see whether it still fails");
                (None, "tried again")
            }
        };
        state.fib.set_failing(ifindex, reason.as_deref());
        let event = Happening::Egress { dev, state: word.into(), reason };
        self.shared.journal.push(event);
    }

    /// An interface that changes is judged as if it had never failed.
    pub(super) fn forget_failures(&mut self, state: &mut State, event: &Event) {
        let tables = &state.fib.tables;
        let changed = match event {
            Event::Link(link) if tables.links.get(&link.ifindex) != Some(link) => link.ifindex,
            Event::XdpFeatures { ifindex, features }
                if self.probes.is_none() && tables.features.get(ifindex) != Some(features) =>
            {
                *ifindex
            }
            Event::LinkGone(ifindex) | Event::LinkMoved(ifindex) => *ifindex,
            _ => return,
        };
        self.hurry_probe(changed);
        self.redirects.breaker.forget(changed);
        state.fib.set_failing(changed, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_has_the_name_of_its_errno() {
        let names = [0, 6, 100, 4000, RedirectError::EXCEPTION].map(cause_name);
        assert_eq!(names, ["dropped", "ENXIO", "ENETDOWN", "errno_4000", "exception"]);
    }
}

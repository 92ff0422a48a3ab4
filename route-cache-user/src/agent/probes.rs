//! Which interfaces take redirected frames, found out by probe frames where the kernel does not tell (row 37).

use std::{sync::Arc, time::Instant};

use anyhow::Result;

use super::{State, event_loop::EventLoop, probe_schedule::Schedule};
use crate::{
    cli::EgressCheck,
    dataplane::probe::{Answer, Prober},
    events::Event as Happening,
    fib::{egress::Probed, message::Ifindex},
};

/// What sends probe frames, and when.
pub(super) struct Probes {
    /// Or why none can be sent.
    prober: Result<Prober, String>,
    schedule: Schedule,
}

impl Probes {
    /// Whether probe frames are to tell, and not the kernel.
    pub(super) fn are_wanted(check: EgressCheck, does_the_kernel_tell: bool) -> bool {
        match check {
            EgressCheck::Auto => !does_the_kernel_tell,
            EgressCheck::Features => false,
            EgressCheck::Probe => true,
        }
    }

    /// Begins; or says once why it cannot.
    pub(super) fn begin(prober: Result<Prober>) -> Self {
        let prober = prober.map_err(|error| format!("{error:#}"));
        match &prober {
            Ok(_) => {
                tracing::info!("which interfaces take redirected frames is told by probe frames")
            }
            Err(why) => tracing::warn!(
                "the kernel does not tell which interfaces take redirected frames, and no probe frame can be sent: {why}"
            ),
        }
        Self { prober, schedule: Schedule::default() }
    }

    fn ask(&mut self, ebpf: &mut aya::Ebpf, ifindex: Ifindex, mac: [u8; 6]) -> Result<Answer> {
        match &mut self.prober {
            Ok(prober) => prober.ask(ebpf, ifindex, mac),
            Err(why) => Err(anyhow::anyhow!("{why}")),
        }
    }
}

impl EventLoop {
    /// Sends the probe frames that are due, and takes the answers in. Returns whether there is news to be installed.
    pub(super) fn probe(&mut self, state: &mut State) -> bool {
        let Some(probes) = &mut self.probes else { return false };
        let candidates = state.fib.to_be_probed();
        let mut is_news = state.fib.keep_probed(&candidates);
        let fib = &state.fib;
        let due = probes.schedule.due(Instant::now(), &candidates, |i| fib.probed(i).is_some());
        for ifindex in due {
            let Some(link) = state.fib.tables.links.get(&ifindex) else { continue };
            let dev = link.name.clone();
            let answer = probes.ask(&mut self.ebpf, ifindex, link.mac.unwrap_or_default());
            let known = state.fib.probed(ifindex);
            let probed = shown(&dev, answer, known == Some(&Ok(())));
            probes.schedule.answered(ifindex, Instant::now(), probed.is_ok());
            if known == Some(&probed) {
                continue;
            }
            match &probed {
                Ok(()) => tracing::info!("{dev} takes redirected frames: a probe frame was sent"),
                Err(reason) => tracing::warn!("{reason}"),
            }
            let event = match (&probed, known) {
                (_, None) | (Err(_), Some(Err(_))) => None,
                (Ok(()), Some(_)) => Some(("in use", None)),
                (Err(reason), Some(Ok(()))) => Some(("out of use", Some(reason.clone()))),
            };
            if let Some((word, reason)) = event {
                let event = Happening::Egress { dev, state: word.into(), reason };
                self.shared.journal.push(event);
            }
            state.fib.set_probed(ifindex, probed);
            is_news = true;
        }
        is_news
    }

    /// The same once a second.
    pub(super) fn probe_again(&mut self) {
        if self.probes.is_some() {
            let shared = Arc::clone(&self.shared);
            let mut state = shared.write();
            if self.probe(&mut state) {
                self.install_or_distrust(&mut state);
            }
        }
    }

    /// Something was heard of an interface that a probe frame may answer differently now.
    pub(super) fn hurry_probe(&mut self, ifindex: Ifindex) {
        if let Some(probes) = &mut self.probes {
            probes.schedule.hurry(ifindex);
        }
    }

    /// Whether a probe frame need not wait for the next second.
    pub(super) fn is_probe_urgent(&self) -> bool {
        self.probes.as_ref().is_some_and(|probes| probes.schedule.is_hurried())
    }
}

fn shown(dev: &str, answer: Result<Answer>, is_in_use: bool) -> Probed {
    match answer {
        Ok(Answer::Sent) => Ok(()),
        // A queue that is full is nothing against an interface that is in use. If it stays full the breaker takes care of that.
        Ok(Answer::Dropped) if is_in_use => Ok(()),
        Ok(Answer::Refused(errno)) => Err(format!(
            "the probe frame to {dev} was refused: {errno:?}; {dev} takes no redirected frames (a veth needs GRO on at its \
             peer, `ethtool -K PEER gro on`, or an XDP program there)"
        )),
        Ok(Answer::Dropped) => Err(format!("the probe frame to {dev} was dropped by its driver")),
        Err(error) => Err(format!(
            "the kernel does not tell whether {dev} takes redirected frames, and no probe frame can be sent: {error:#}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nix::errno::Errno;

    use super::*;

    #[test]
    fn row_37_features_tell_where_there_are_any() {
        for (check, kernel_tells, wanted) in [
            (EgressCheck::Auto, true, false),
            (EgressCheck::Auto, false, true),
            (EgressCheck::Features, false, false),
            (EgressCheck::Features, true, false),
            (EgressCheck::Probe, true, true),
        ] {
            assert_eq!(Probes::are_wanted(check, kernel_tells), wanted, "{check:?} {kernel_tells}");
        }
    }

    #[test]
    fn row_37_a_full_queue_is_no_refusal_but_no_consent_either() {
        // And so is the interval until it is asked again.
        for (answer, is_in_use, is_used, seconds) in [
            (Answer::Dropped, true, true, 10),
            (Answer::Dropped, false, false, 1),
            (Answer::Refused(Errno::ENXIO), true, false, 1),
            (Answer::Sent, true, true, 10),
        ] {
            let shown = shown("veth0", Ok(answer), is_in_use);
            assert_eq!(shown.is_ok(), is_used, "{answer:?} {is_in_use}");
            let (mut schedule, begin) = (Schedule::default(), Instant::now());
            let is_due = |schedule: &mut Schedule, seconds| {
                !schedule
                    .due(begin + Duration::from_secs(seconds), &[7].into(), |_| true)
                    .is_empty()
            };
            assert!(is_due(&mut schedule, 0));
            schedule.answered(7, begin, shown.is_ok());
            assert_eq!((1..99).find(|s| is_due(&mut schedule, *s)), Some(seconds), "{answer:?}");
        }
    }

    #[test]
    fn row_37_a_reason_names_the_interface_and_the_error() {
        assert_eq!(shown("veth0", Ok(Answer::Sent), false), Ok(()));
        let refused = shown("veth0", Ok(Answer::Refused(Errno::ENXIO)), false).unwrap_err();
        assert!(refused.starts_with("the probe frame to veth0 was refused: ENXIO"), "{refused}");
        let unsent =
            shown("veth0", Err(anyhow::anyhow!("CAP_PERFMON missing")), false).unwrap_err();
        assert!(unsent.starts_with("the kernel does not tell whether veth0"), "{unsent}");
        assert!(unsent.ends_with("CAP_PERFMON missing"), "{unsent}");
    }
}

//! What is asked of any packet: whether the tables are vouched for, and what stands against its family and its interface.

use route_cache_common::Outcome;

use super::Steps;
use crate::{
    agent::{Shared, State},
    fib::{
        family::NetFamily,
        message::Ifindex,
        why::{Code, Why},
    },
};

/// The steps up to the ingress interface.
pub(in crate::view) fn arrive<F: NetFamily>(
    shared: &Shared,
    state: &State,
    iif: Option<Ifindex>,
    steps: &mut Steps,
) {
    let (now, deadline) = (shared.clock.now(), shared.deadline());
    steps.judge(
        "promise",
        promise(shared.clock.to_seconds(deadline.saturating_sub(now)), || {
            shared.clock.to_seconds(now.saturating_sub(deadline))
        }),
    );
    let title = F::FAMILY.title();
    let reasons = state.fib.reasons::<F>();
    steps.stand_aside("family", Outcome::PassDisabled, &reasons, format!("{title} is forwarded"));
    match iif {
        None => steps.not_asked("interface", "give `iif NAME`"),
        Some(ifindex) => {
            let fine = format!("forwards what {} receives", place(state, ifindex));
            let reasons = against::<F>(state, ifindex);
            steps.stand_aside("interface", Outcome::PassInterface, &reasons, fine);
        }
    }
}

fn promise(left: f64, over: impl FnOnce() -> f64) -> super::Judged {
    if left > 0.0 {
        Ok(format!("the agent vouches for the tables for another {left:.1} s"))
    } else {
        let over = over();
        let reason = format!("the agent has not vouched for the tables, for {over:.1} s now");
        Err((Outcome::PassExpired, reason))
    }
}

/// The interface, and where its frames come in if it is a VLAN device.
fn place(state: &State, ifindex: Ifindex) -> String {
    let tables = &state.fib.tables;
    let (name, port) = (tables.link_name(ifindex), tables.port_of(ifindex));
    match tables.links.get(&ifindex).and_then(|link| link.vlan) {
        Some(vlan) if port != ifindex => {
            format!("{name} (VLAN {} on {})", vlan.id, tables.link_name(port))
        }
        _ => name,
    }
}

/// What stands against forwarding what an interface receives.
fn against<F: NetFamily>(state: &State, ifindex: Ifindex) -> Vec<Why> {
    let tables = &state.fib.tables;
    let port = tables.port_of(ifindex);
    if !state.attachments.is_attached(port) {
        let name = tables.link_name(port);
        let mut sentence =
            format!("no program is attached to {name}: the kernel gets all it receives, uncounted");
        let failure = [ifindex, port].iter().find_map(|i| state.attachments.failure(*i));
        if let Some(failure) = failure {
            sentence = format!("{sentence} ({failure})");
        }
        return vec![Why::new(Code::NotAttached, sentence)];
    }
    let mut reasons = Vec::new();
    if !state.fib.is_attached(ifindex) {
        let sentence = format!("only VLAN devices of {} were asked for", tables.link_name(port));
        reasons.push(Why::new(Code::NotAskedFor, sentence));
    }
    reasons.extend(state.fib.ingress(F::FAMILY, ifindex));
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_44_a_promise_that_has_run_out_passes() {
        assert!(promise(0.1, || 0.0).is_ok());
        let (outcome, reason) = promise(0.0, || 3.25).expect_err("it has run out");
        assert_eq!(outcome, Outcome::PassExpired);
        assert!(reason.contains("3.2 s"), "{reason}");
    }
}

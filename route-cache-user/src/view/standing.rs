//! What stands aside, and why.

use route_cache_common::{V4, V6};

use crate::{
    agent::State,
    control::protocol::{FamilyInterface, FamilyStatus, InterfaceEntry},
    fib::{
        family::NetFamily,
        message::{Ifindex, Link},
        why::{Code, Why},
    },
};

/// Whether a family is forwarded.
pub(super) fn family<F: NetFamily>(state: &State) -> FamilyStatus {
    let (codes, reasons) = told(state.fib.reasons::<F>());
    FamilyStatus { accelerating: reasons.is_empty(), reasons, codes }
}

/// An interface that is attached, or wanted, or that has a port which is.
pub(super) fn interface(state: &State, link: &Link) -> InterfaceEntry {
    let ifindex = link.ifindex;
    let port = state.fib.tables.port_of(ifindex);
    let attached = state.attachments.is_attached(port);
    let failure = state.attachments.failure(ifindex);
    let failure = failure.map(|failure| Why::new(Code::NotAttached, failure));
    let alone = (attached && !state.fib.is_attached(ifindex))
        .then(|| Why::new(Code::NotAskedFor, "only VLAN devices of it were asked for"));
    let of_both: Vec<_> = failure.into_iter().chain(alone).collect();
    let v4 = of_family::<V4>(state, ifindex, &of_both);
    InterfaceEntry {
        name: link.name.clone(),
        ifindex,
        port: (port != ifindex).then(|| state.fib.tables.link_name(port)),
        mode: if attached { state.attachments.mode_name() } else { "none" }.into(),
        accelerating: v4.accelerating,
        egress: v4.egress,
        reasons: v4.reasons,
        codes: v4.codes,
        redirect_errors: errors_of(state, ifindex),
        ipv6: of_family::<V6>(state, ifindex, &of_both),
    }
}

/// What an interface is good for, for one family; `of_both` stands against both.
fn of_family<F: NetFamily>(state: &State, ifindex: Ifindex, of_both: &[Why]) -> FamilyInterface {
    let ingress = state.fib.ingress(F::FAMILY, ifindex);
    let accelerating =
        state.fib.is_attached(ifindex) && ingress.is_empty() && state.fib.reasons::<F>().is_empty();
    let egress = state.fib.egress(F::FAMILY, ifindex);
    let mut reasons = of_both.to_vec();
    reasons.extend(ingress);
    if let Err(why) = &egress
        && !reasons.iter().any(|reason| reason.sentence == why.sentence)
    {
        reasons.push(why.clone());
    }
    let (codes, reasons) = told(reasons);
    FamilyInterface { accelerating, egress: egress.is_ok(), reasons, codes }
}

/// Codes and sentences.
fn told(reasons: Vec<Why>) -> (Vec<String>, Vec<String>) {
    reasons.into_iter().map(|why| (why.code.name().to_owned(), why.sentence)).unzip()
}

/// Redirected packets that were lost at an interface; nothing if they are not counted.
fn errors_of(state: &State, ifindex: Ifindex) -> Option<u64> {
    let errors = state.redirect_errors.as_ref().ok()?.iter();
    Some(errors.filter(|(error, _)| error.ifindex == ifindex).map(|(_, packets)| packets).sum())
}

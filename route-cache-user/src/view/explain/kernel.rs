//! What the kernel says to the same question, and whether it agrees.

use std::net::IpAddr;

use nix::errno::Errno;
use route_cache_common::Outcome;

pub(in crate::view) use crate::audit::compare::Ours;
use crate::{
    audit::{
        ask::Asker,
        compare::{Answer, Difference, Named, compare as differs},
        examine::host_on,
        route_get::{Found, Question, refusal},
    },
    control::protocol::KernelAnswer,
    fib::{family::IpFamily, message::Ifindex, netlink::DumpError, tables::Tables},
};

/// The question to the kernel. IPv4 forwards nothing without a source: where none is given, it comes from a host on the
/// link.
pub(in crate::view) fn question(
    tables: &Tables,
    dst: IpAddr,
    from: Option<IpAddr>,
    iif: Option<Ifindex>,
) -> Question {
    let on_link = || {
        let of_link = tables.addresses.iter().filter(|address| {
            Some(address.ifindex) == iif && IpFamily::of(address.local) == IpFamily::of(dst)
        });
        of_link.filter_map(|address| host_on(tables, address)).min()
    };
    Question { dst, from: from.or_else(on_link), iif }
}

/// Asks the kernel, and holds its answer against where the data plane sends the packet, or against the outcome with which it
/// leaves it to the kernel. Blocks as long as the kernel takes.
pub(in crate::view) fn compare(
    question: &Question,
    outcome: Outcome,
    ours: Option<&Ours>,
    name: &dyn Fn(Ifindex) -> String,
) -> KernelAnswer {
    let asked = Asker::open().and_then(|mut asker| asker.get(question));
    let (agreement, reason) = judge(question, outcome, ours, &asked, name);
    let (answer, error) = match &asked {
        Ok(Ok(found)) => (Some(Named(&(question, found), name).to_string()), None),
        Ok(Err(errno)) => (None, Some(refusal(*errno))),
        Err(error) => (None, Some(format!("the kernel cannot be asked: {error}"))),
    };
    KernelAnswer {
        question: Named(question, name).to_string(),
        answer,
        error,
        agreement: agreement.to_owned(),
        reason,
    }
}

/// What the agreement is called that a mirror that is behind may explain.
pub(in crate::view) const DIFFERS: &str = "differs";

fn judge(
    question: &Question,
    outcome: Outcome,
    ours: Option<&Ours>,
    asked: &Result<Result<Found, Errno>, DumpError>,
    name: &dyn Fn(Ifindex) -> String,
) -> (&'static str, String) {
    let Ok(answer) = asked else {
        return ("unknown", "there is nothing to compare".to_owned());
    };
    let Some(ours) = ours else {
        let reason =
            format!("the packet is left to the kernel ({}), which decides", outcome.name());
        return ("kernel_decides", reason);
    };
    let answer = match answer {
        Err(_) if question.iif.is_none() && question.from.is_some() => {
            let reason = "without `iif` the kernel takes it for a packet of its own, which has no such source";
            return ("unknown", reason.to_owned());
        }
        Err(_) if question.from.is_none() && question.iif.is_some() && question.dst.is_ipv4() => {
            let reason = "IPv4 forwards nothing without a source, and there is no host on the link of `iif` to ask for: say `from`";
            return ("unknown", reason.to_owned());
        }
        Err(errno) => Answer::Refused(*errno),
        Ok(found) => Answer::Route(found.resolved.clone()),
    };
    let what = match differs(ours, &answer) {
        None => {
            // Of several next hops the kernel tells the one that it chose.
            let hops = match answer {
                Answer::Route(resolved) => vec![resolved.hop],
                Answer::Refused(_) => Vec::new(),
            };
            let chosen = Ours { hops, ..ours.clone() };
            return ("agrees", format!("both forward it {}", Named(&chosen, name)));
        }
        Some(Difference::Refused) => "does not forward it",
        Some(Difference::Kind) => "does something else with it",
        Some(Difference::NextHop) => "forwards it elsewhere",
        Some(Difference::Mtu) => "forwards it by another MTU",
    };
    let here = Named(ours, name);
    (DIFFERS, format!("the data plane forwards it {here}, the kernel {what}: `route-cache audit`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::compare::{Hop, Resolved, UNICAST};

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn agreement_is_the_same_interface_and_neighbour_and_what_passes_is_the_kernels() {
        let name = |ifindex: Ifindex| format!("eth{ifindex}");
        let hop = |last: u8| Hop { ifindex: 3, address: IpAddr::from([10, 0, 2, last]) };
        let dst = address("192.0.2.1");
        let ours = Ours { dst, hops: vec![hop(2)], mtu: 0 };
        let forwarded = Question { dst, from: Some(address("10.0.1.2")), iif: Some(2) };
        let resolved = |hop| Resolved {
            kind: UNICAST,
            encapsulated: false,
            hop,
            ways: Vec::new(),
            mtu: Some(0),
        };
        let judged = |question: &Question, ours: Option<&Ours>, answer: Result<Hop, Errno>| {
            let outcome =
                if ours.is_some() { Outcome::ForwardedRoute } else { Outcome::PassReversePath };
            let answer = Ok(answer.map(|hop| Found::of(resolved(hop))));
            judge(question, outcome, ours, &answer, &name)
        };
        let (agreement, reason) = judged(&forwarded, Some(&ours), Ok(hop(2)));
        assert_eq!((agreement, &*reason), ("agrees", "both forward it via 10.0.2.2 dev eth3"));
        let (agreement, reason) = judged(&forwarded, Some(&ours), Ok(hop(3)));
        assert_eq!(agreement, DIFFERS);
        assert!(reason.contains("forwards it elsewhere"), "{reason}");
        let (agreement, reason) = judged(&forwarded, Some(&ours), Err(Errno::EINVAL));
        assert_eq!(agreement, DIFFERS);
        assert!(reason.contains("does not forward it"), "{reason}");
        for answer in [Ok(hop(2)), Err(Errno::EINVAL)] {
            let (agreement, reason) = judged(&forwarded, None, answer);
            assert_eq!(agreement, "kernel_decides");
            assert!(reason.contains("pass_reverse_path"), "{reason}");
        }
        let by_nobody = Question { iif: None, ..forwarded };
        assert_eq!(judged(&by_nobody, Some(&ours), Err(Errno::ENETUNREACH)).0, "unknown");
        let own = Question { from: None, ..by_nobody };
        assert_eq!(judged(&own, Some(&ours), Err(Errno::ENETUNREACH)).0, DIFFERS);
        // Without a source, on an interface whose link has no host to ask for.
        let sourceless = Question { from: None, ..forwarded };
        let (agreement, reason) = judged(&sourceless, Some(&ours), Err(Errno::EINVAL));
        assert_eq!(agreement, "unknown");
        assert!(reason.contains("say `from`"), "{reason}");
        let sourceless6 = Question { dst: address("2001:db8::9"), ..sourceless };
        assert_eq!(judged(&sourceless6, Some(&ours), Err(Errno::EINVAL)).0, DIFFERS);
        let nobody_answers = Err(DumpError::Unsupported);
        let (agreement, _) =
            judge(&own, Outcome::ForwardedRoute, Some(&ours), &nobody_answers, &name);
        assert_eq!(agreement, "unknown");
    }

    #[test]
    fn a_packet_without_a_source_comes_from_a_host_on_the_link() {
        let mut tables = Tables::default();
        let own = |ifindex, local: &str, prefix_len| crate::fib::message::Address {
            ifindex,
            local: address(local),
            prefix_len,
        };
        tables.addresses.extend([own(2, "10.0.1.1", 24), own(3, "10.0.2.1", 24)]);
        tables.addresses.insert(own(2, "2001:db8:1::1", 64));
        let dst = address("192.0.2.1");
        let from = |dst, from, iif| question(&tables, dst, from, iif).from;
        assert_eq!(from(dst, None, Some(2)), Some(address("10.0.1.2")));
        assert_eq!(from(dst, Some(address("10.7.7.7")), Some(2)), Some(address("10.7.7.7")));
        assert_eq!(from(dst, None, None), None);
        assert_eq!(from(address("2001:db8::9"), None, Some(2)), Some(address("2001:db8:1::2")));
    }
}

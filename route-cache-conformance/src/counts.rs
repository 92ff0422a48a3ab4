//! What the router's kernel and the data plane have counted.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use route_cache_lab::{Agent, Namespace, Snmp};

/// Counters that grew, and by how much.
pub type Growth = BTreeMap<String, u64>;

/// The kernel's counters that a case may move and nothing else does. Others move by themselves: what interfaces announce (IGMP is in `Ip OutRequests`),
/// what the lab's commands cause.
const KERNEL: [&str; 40] = [
    "Ip InReceives",
    "Ip InHdrErrors",
    "Ip InAddrErrors",
    "Ip ForwDatagrams",
    "Ip InUnknownProtos",
    "Ip InDiscards",
    "Ip InDelivers",
    "Ip OutDiscards",
    "Ip OutNoRoutes",
    "Ip ReasmReqds",
    "Ip FragOKs",
    "Ip FragFails",
    "Ip FragCreates",
    "Icmp InMsgs",
    "Icmp InErrors",
    "Icmp OutMsgs",
    "Icmp OutErrors",
    "Icmp OutDestUnreachs",
    "Icmp OutTimeExcds",
    "Icmp OutParmProbs",
    "Icmp OutRedirects",
    "Icmp OutEchoReps",
    "IpExt InNoRoutes",
    "IpExt InTruncatedPkts",
    "IpExt InMcastPkts",
    "IpExt InBcastPkts",
    "IpExt InCsumErrors",
    "TcpExt IPReversePathFilter",
    "Ip6 InHdrErrors",
    "Ip6 InTooBigErrors",
    "Ip6 InNoRoutes",
    "Ip6 InAddrErrors",
    "Ip6 InTruncatedPkts",
    "Ip6 InDiscards",
    "Ip6 OutForwDatagrams",
    "Ip6 FragCreates",
    "Icmp6 OutDestUnreachs",
    "Icmp6 OutPktTooBigs",
    "Icmp6 OutTimeExcds",
    "Icmp6 OutParmProblems",
];

/// Reads the counters of the router's kernel.
pub fn kernel(router: &Namespace) -> Result<Growth> {
    let snmp = Snmp::read(router)?;
    let named = snmp.iter().map(|(protocol, name, count)| (format!("{protocol} {name}"), count));
    Ok(named.filter(|(name, _)| KERNEL.contains(&name.as_str())).collect())
}

/// Reads the packets by outcome.
pub fn outcomes(agent: &Agent) -> Result<Growth> {
    let metrics = agent.metrics()?;
    let outcomes: Growth = metrics
        .lines()
        .filter_map(|line| {
            let (name, count) =
                line.strip_prefix("route_cache_packets_total{outcome=\"")?.split_once("\"} ")?;
            Some((name.to_owned(), count.parse().ok()?))
        })
        .collect();
    (!outcomes.is_empty()).then_some(outcomes).context("the metrics have no outcomes of packets")
}

/// The counters that grew between two readings.
pub fn grown(before: &Growth, after: &Growth) -> Growth {
    let by = |(name, count): (&String, &u64)| {
        (name.clone(), count.saturating_sub(before.get(name).copied().unwrap_or_default()))
    };
    after.iter().map(by).filter(|(_, count)| *count != 0).collect()
}

/// Where what the kernel counted with the cache differs from what it counted without.
pub fn differences(kernel: &Growth, cache: &Growth) -> Vec<String> {
    let of = |growth: &Growth, name: &str| growth.get(name).copied().unwrap_or_default();
    let names = KERNEL.iter().filter(|name| of(kernel, name) != of(cache, name));
    names
        .map(|name| {
            let (kernel, cache) = (of(kernel, name), of(cache, name));
            format!("{name} grew by {kernel} without the cache, by {cache} with it")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_moves_in_one_of_both_is_a_difference() {
        let growth = |names: &[&str]| names.iter().map(|n| ((*n).to_owned(), 1)).collect();
        let (one, none): (Growth, Growth) = (growth(&["Ip InHdrErrors"]), growth(&[]));
        assert_eq!(differences(&one, &one), [""; 0]);
        assert_eq!(differences(&one, &none).len(), 1);
        assert_eq!(differences(&none, &one).len(), 1);
    }

    #[test]
    fn growth_is_what_was_added() {
        let reading = |n| Growth::from([("a".to_owned(), n), ("b".to_owned(), 1)]);
        assert_eq!(grown(&reading(3), &reading(5)), Growth::from([("a".to_owned(), 2)]));
    }
}

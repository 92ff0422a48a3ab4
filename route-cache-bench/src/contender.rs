//! Who is measured. A further forwarder is a further line.

use std::collections::BTreeMap;

use serde::Serialize;

/// Which router a contender forwards in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Router {
    /// The agent runs as users run it.
    Cached,
    /// The same, with its cache switched off.
    Uncached,
}

/// Which program gets the frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    /// The agent's own, as it is attached.
    Agent,
    /// One of the bench's object; that for IPv6 has a 6 behind its name.
    Bench(&'static str),
}

/// The way that packets must take; the counters of the agent and of the kernel tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// A program of the bench redirects them; neither the kernel forwards any nor does the agent see any.
    Redirected,
    /// The agent's program forwards them all, by one of these outcomes.
    Agent(&'static [&'static str]),
    /// The kernel forwards them.
    Kernel,
}

/// A forwarder under measurement.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Contender {
    /// As in the tables and in JSON.
    pub(crate) name: &'static str,
    /// One line for people.
    pub(crate) what: &'static str,
    #[serde(skip)]
    pub(crate) router: Router,
    #[serde(skip)]
    pub(crate) program: Program,
    /// When the destinations are those of a list that it has met before.
    #[serde(skip)]
    pub(crate) way: Way,
    /// When they are random, new, or more than [`crate::scenario::FEW`]: the agent may leave them to the routes.
    #[serde(skip)]
    pub(crate) way_in_flood: Way,
}

/// Outcomes of the agent.
const FLOW: &str = "forwarded_flow";
const HIT: &str = "forwarded_clone";
const ROUTE: &str = "forwarded_route";

/// All of them, in the order of a round.
pub(crate) const ALL: [Contender; 8] = [
    bench("floor", "rewrites to a constant next hop and redirects", Program::Bench("floor")),
    Contender {
        name: "cache",
        what: "the agent's program, with what the agent finds worth looking for",
        router: Router::Cached,
        program: Program::Agent,
        way: Way::Agent(&[FLOW, HIT]),
        way_in_flood: Way::Agent(&[ROUTE, HIT, FLOW]),
    },
    Contender {
        name: "cache off",
        what: "the agent's program with the cache off: the route lookup",
        router: Router::Uncached,
        program: Program::Agent,
        way: Way::Agent(&[ROUTE]),
        way_in_flood: Way::Agent(&[ROUTE]),
    },
    bench("flow", "a table of flows of its own and a redirect, no checks", Program::Bench("flow")),
    bench("lpm", "an LPM trie of its own and a redirect, no checks", Program::Bench("lpm")),
    bench("fib_full", "bpf_fib_lookup", Program::Bench("fib_full")),
    bench("fib_direct", "bpf_fib_lookup with BPF_FIB_LOOKUP_DIRECT", Program::Bench("fib_direct")),
    Contender {
        name: "kernel",
        what: "XDP_PASS, forwarded by the kernel",
        router: Router::Cached,
        program: Program::Bench("pass"),
        way: Way::Kernel,
        way_in_flood: Way::Kernel,
    },
];

/// Packets that a flow or a clone forwarded.
pub(crate) fn hits(outcomes: &BTreeMap<String, u64>) -> u64 {
    [FLOW, HIT].iter().filter_map(|name| outcomes.get(*name)).sum()
}

const fn bench(name: &'static str, what: &'static str, program: Program) -> Contender {
    let way = Way::Redirected;
    Contender { name, what, router: Router::Cached, program, way, way_in_flood: way }
}

/// Peers that this kernel cannot run, and why: shown, so that nobody looks for them in vain.
pub(crate) fn absent() -> Vec<(&'static str, String)> {
    let mut absent = Vec::new();
    if !has_flowtable() {
        let why = "this kernel has no nf_flow_table";
        absent.push(("nftables flowtable", why.to_owned()));
    }
    absent
}

fn has_flowtable() -> bool {
    let known = std::fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    known.lines().any(|line| line.contains(" nf_flow_table_init"))
}

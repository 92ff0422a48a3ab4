//! The table of all metrics: name, kind, help, labels. Names and labels are a stable interface.

use prometheus::proto::MetricType;

/// One metric family.
#[derive(Debug)]
pub(super) struct Family {
    /// Full name.
    pub(super) name: &'static str,
    /// One sentence.
    pub(super) help: &'static str,
    /// Counter or gauge.
    pub(super) kind: MetricType,
    /// Label names, in the order in which the values are given.
    pub(super) labels: &'static [&'static str],
}

macro_rules! families {
    ($($constant:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)+) => {
        $(pub(super) static $constant: Family = Family {
            name: $name,
            help: $help,
            kind: MetricType::$kind,
            labels: &[$($label),*],
        };)+

        /// Every family.
        pub(super) static ALL: &[&Family] = &[$(&$constant),+];
    };
}

families! {
    PACKETS = COUNTER "route_cache_packets_total" ["outcome"]
        "Packets seen by the XDP programs, by how they ended; the outcomes add up to all packets.";
    BYTES = COUNTER "route_cache_bytes_total" ["outcome"]
        "Bytes of those packets, counted from the Ethernet header.";
    ACCELERATING = GAUGE "route_cache_accelerating" ["family"]
        "1 if packets of the family may be forwarded by XDP at all, 0 if every one is left to the kernel.";
    INTERFACE_ATTACHED = GAUGE "route_cache_interface_attached" ["interface", "mode"]
        "1 if the XDP program is attached (mode native or skb), 0 if it is wanted and is not (mode none).";
    INTERFACE_ACCELERATING = GAUGE "route_cache_interface_accelerating" ["family", "interface"]
        "1 if packets of the family received on the interface may be forwarded by XDP.";
    STANDS_ASIDE = GAUGE "route_cache_stands_aside" ["family", "interface", "reason"]
        "1 for each reason in force to leave packets of a family to the kernel: all of them, or those of an interface.";
    CLONES = GAUGE "route_cache_clones" ["family", "cpu"]
        "Cloned host routes in the table of a CPU.";
    CLONE_CAPACITY = GAUGE "route_cache_clone_capacity" ["family", "cpu"]
        "Most clones the table of a CPU can hold.";
    CLONES_CREATED = COUNTER "route_cache_clones_created_total" ["family", "cpu"]
        "Clones made.";
    CLONES_EXPIRED = COUNTER "route_cache_clones_expired_total" ["family", "reason"]
        "Clones removed, by reason.";
    CLONE_REFUSALS = COUNTER "route_cache_clone_refusals_total" ["family", "reason"]
        "Clones not made, by reason; full is a full table, whose packets are forwarded by the network route.";
    ADMISSION = GAUGE "route_cache_admission" ["mode"]
        "1 for whom clones are looked for and made: all, few while most packets would find none, none.";
    TIER = GAUGE "route_cache_tier" ["tier"]
        "1 if flows, clones or the index of IPv4 routes stand in front of the routes.";
    SWEEP_FOUND = GAUGE "route_cache_sweep_found" ["family", "cpu"]
        "Clones that the last walk over the table met.";
    SWEEP_KILLED = GAUGE "route_cache_sweep_killed" ["family", "cpu"]
        "Clones that the last walk over the table removed.";
    RTEXPIRE = GAUGE "route_cache_rtexpire_seconds" []
        "How long an idle clone is kept now; pressure may have shrunk it.";
    RTMINEXPIRE = GAUGE "route_cache_rtminexpire_seconds" []
        "The least that pressure shrinks the timeout to.";
    RTMAXCACHE = GAUGE "route_cache_rtmaxcache" []
        "Clones of one CPU above which the timeout shrinks.";
    ADJUSTMENTS = COUNTER "route_cache_timeout_adjustments_total" ["direction"]
        "Times the timeout shrank under pressure, and recovered.";
    PRESSURE = GAUGE "route_cache_memory_pressure" ["level"]
        "1 for the level of memory pressure that is in force.";
    ROUTES = GAUGE "route_cache_routes" ["family"]
        "Routes mirrored from the kernel.";
    NEXT_HOPS = GAUGE "route_cache_next_hops" ["state"]
        "Next hops, by state: usable, or why not.";
    REDIRECT_ERRORS = COUNTER "route_cache_redirect_errors_total" ["interface", "cause"]
        "Packets that XDP redirected and that were lost at the interface, by the kernel's error; absent if they cannot be counted.";
    NETLINK_OVERRUNS = COUNTER "route_cache_netlink_overruns_total" []
        "Times the kernel dropped netlink messages because the agent was too slow.";
    RESYNCS = COUNTER "route_cache_resyncs_total" ["cause"]
        "Times all kernel tables were read anew, by cause.";
    AUDITS = COUNTER "route_cache_audits_total" []
        "Clones about which the kernel was asked where it would send their packets.";
    AUDIT_MISMATCHES = COUNTER "route_cache_audit_mismatches_total" []
        "Clones with which the kernel disagreed for good; they were removed.";
    MAP_MEMORY = GAUGE "route_cache_map_memory_bytes" ["map"]
        "Kernel memory of the BPF maps now; those of clones and routes grow with these.";
    RESIDENT_MEMORY = GAUGE "process_resident_memory_bytes" []
        "Memory of the agent's process.";
    UPTIME = GAUGE "route_cache_uptime_seconds" []
        "Since the agent started.";
    BUILD_INFO = GAUGE "route_cache_build_info" ["version"]
        "1, with the version of the agent.";
    SCRAPE_ERRORS = COUNTER "route_cache_scrape_errors_total" []
        "Scrapes answered with an error because the agent's state could not be read.";
}

//! The agent's status as metric families.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use prometheus::{
    Histogram, Registry, TextEncoder,
    core::{Collector, Desc},
    proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType},
};

use super::families::{self as of, Family};
use crate::{control::protocol::Status, sweep::pressure::Pressure};

/// The text format of one status.
///
/// # Errors
///
/// If a family in the table is not a valid metric.
pub(super) fn render(
    status: Status,
    scrape_errors: u64,
    histograms: Vec<Histogram>,
) -> prometheus::Result<String> {
    let registry = Registry::new();
    for histogram in histograms {
        registry.register(Box::new(histogram))?;
    }
    registry.register(Box::new(Snapshot::new(status, scrape_errors)?))?;
    TextEncoder::new().encode_to_string(&registry.gather())
}

/// One status, read for one scrape.
struct Snapshot {
    status: Status,
    scrape_errors: u64,
    descriptions: Vec<Desc>,
}

impl Snapshot {
    fn new(status: Status, scrape_errors: u64) -> prometheus::Result<Snapshot> {
        let describe = |family: &&Family| {
            let labels = family.labels.iter().map(|&label| label.to_owned()).collect();
            Desc::new(family.name.to_owned(), family.help.to_owned(), labels, HashMap::new())
        };
        let descriptions = of::ALL.iter().map(describe).collect::<prometheus::Result<_>>()?;
        Ok(Snapshot { status, scrape_errors, descriptions })
    }
}

impl Collector for Snapshot {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let status = &self.status;
        let mut samples = Samples::default();
        for (outcome, count) in &status.outcomes {
            samples.add(&of::PACKETS, [outcome], count.packets as f64);
            samples.add(&of::BYTES, [outcome], count.bytes as f64);
        }
        collect_clones(status, &mut samples);
        for interface in &status.interfaces {
            let attached = f64::from(interface.mode != "none");
            samples.add(&of::INTERFACE_ATTACHED, [&interface.name, &interface.mode], attached);
            for (family, accelerating) in
                [("ipv4", interface.accelerating), ("ipv6", interface.ipv6.accelerating)]
            {
                let labels = [family, &interface.name];
                samples.add(&of::INTERFACE_ACCELERATING, labels, f64::from(accelerating));
            }
        }
        collect_reasons(status, &mut samples);
        for error in &status.redirect_errors {
            let labels = [error.interface.as_str(), error.cause.as_str()];
            samples.add(&of::REDIRECT_ERRORS, labels, error.packets as f64);
        }
        for (family, counts) in [
            (&of::ROUTES, &status.routes),
            (&of::NEXT_HOPS, &status.next_hops),
            (&of::RESYNCS, &status.resyncs),
            (&of::MAP_MEMORY, &status.map_memory),
        ] {
            for (label, &count) in counts {
                samples.add(family, [label], count as f64);
            }
        }
        let timeout = &status.timeout;
        for (direction, count) in [("shrunk", timeout.shrunk), ("recovered", timeout.recovered)] {
            samples.add(&of::ADJUSTMENTS, [direction], count as f64);
        }
        let tiers = &status.tiers;
        for mode in ["all", "few", "routes", "none"] {
            samples.add(&of::ADMISSION, [mode], f64::from(mode == tiers.clones));
        }
        for (tier, is_on) in
            [("flows", tiers.flows), ("clones", tiers.clones != "none"), ("index", tiers.index)]
        {
            samples.add(&of::TIER, [tier], f64::from(is_on));
        }
        for level in Pressure::ALL.map(Pressure::name) {
            samples.add(&of::PRESSURE, [level], f64::from(level == timeout.memory_pressure));
        }
        for (family, value) in [
            (&of::RTEXPIRE, timeout.rtexpire_seconds as f64),
            (&of::RTMINEXPIRE, timeout.rtminexpire_seconds as f64),
            (&of::RTMAXCACHE, timeout.rtmaxcache as f64),
            (&of::NETLINK_OVERRUNS, status.netlink_overruns as f64),
            (&of::AUDITS, status.audits as f64),
            (&of::AUDIT_MISMATCHES, status.audit_mismatches as f64),
            (&of::RESIDENT_MEMORY, status.resident_memory_bytes as f64),
            (&of::UPTIME, status.uptime_seconds),
            (&of::SCRAPE_ERRORS, self.scrape_errors as f64),
        ] {
            samples.add(family, [], value);
        }
        for (family, accelerating) in
            [("ipv4", status.accelerating), ("ipv6", status.ipv6.accelerating)]
        {
            samples.add(&of::ACCELERATING, [family], f64::from(accelerating));
        }
        samples.add(&of::BUILD_INFO, [&status.version], 1.0);
        samples.0.into_values().collect()
    }
}

/// A reason may be in force for several objects of one interface: it is one.
fn collect_reasons(status: &Status, samples: &mut Samples) {
    let mut reasons = BTreeSet::new();
    let mut add = |family: &'static str, interface: &str, codes: &[String]| {
        reasons.extend(codes.iter().map(|code| (family, interface.to_owned(), code.clone())));
    };
    add("ipv4", "", &status.codes);
    add("ipv6", "", &status.ipv6.codes);
    for interface in &status.interfaces {
        add("ipv4", &interface.name, &interface.codes);
        add("ipv6", &interface.name, &interface.ipv6.codes);
    }
    for (family, interface, code) in &reasons {
        samples.add(&of::STANDS_ASIDE, [family, interface, code], 1.0);
    }
}

fn collect_clones(status: &Status, samples: &mut Samples) {
    let mut refused = BTreeMap::<(&str, &str), u64>::new();
    let mut expired = BTreeMap::<(&str, &str), u64>::new();
    for table in &status.clones {
        let cpu = table.cpu.to_string();
        samples.add(&of::CLONES, [&table.family, &cpu], table.live as f64);
        samples.add(&of::CLONE_CAPACITY, [&table.family, &cpu], table.capacity as f64);
        samples.add(&of::SWEEP_FOUND, [&table.family, &cpu], table.last_walk.found as f64);
        samples.add(&of::SWEEP_KILLED, [&table.family, &cpu], table.last_walk.killed as f64);
        samples.add(&of::CLONES_CREATED, [&table.family, &cpu], table.created as f64);
        for (reason, count) in [("full", table.refused), ("first_packet", table.deferred)] {
            *refused.entry((&table.family, reason)).or_default() += count;
        }
        for (reason, &count) in &table.expired {
            *expired.entry((&table.family, reason)).or_default() += count;
        }
    }
    for ((family, reason), count) in refused {
        samples.add(&of::CLONE_REFUSALS, [family, reason], count as f64);
    }
    for ((family, reason), count) in expired {
        samples.add(&of::CLONES_EXPIRED, [family, reason], count as f64);
    }
}

/// The families that have samples, by name.
#[derive(Default)]
struct Samples(BTreeMap<&'static str, MetricFamily>);

impl Samples {
    fn add<const N: usize>(&mut self, of: &'static Family, values: [&str; N], value: f64) {
        debug_assert_eq!(of.labels.len(), N, "{}", of.name);
        let labels = of.labels.iter().zip(values).map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value(value.to_owned());
            pair
        });
        let mut metric = Metric::from_label(labels.collect());
        if of.kind == MetricType::COUNTER {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        let family = self.0.entry(of.name).or_insert_with(|| {
            let mut family = MetricFamily::default();
            family.set_name(of.name.to_owned());
            family.set_help(of.help.to_owned());
            family.set_field_type(of.kind);
            family
        });
        family.mut_metric().push(metric);
    }
}

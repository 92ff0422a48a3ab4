//! `status`: is it working, and if not, why not?

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use super::{
    duration::human,
    listings::interface_table,
    table::{
        Align::{Left, Right},
        Table, printable, with_codes,
    },
};
use crate::control::protocol::{FamilyStatus, RedirectErrorEntry, Status};

pub(super) fn write(status: &Status, out: &mut dyn Write) -> io::Result<()> {
    write_verdict(status, out)?;
    writeln!(out)?;
    interface_table(&status.interfaces).write("", out)?;
    writeln!(out)?;
    outcome_table(status).write("", out)?;
    writeln!(out)?;
    clone_table(status).write("", out)?;
    writeln!(out)?;
    let on = |is: bool| if is { "on" } else { "off" };
    let tiers = &status.tiers;
    let (flows, clones, index) = (on(tiers.flows), printable(&tiers.clones), on(tiers.index));
    writeln!(out, "tiers             flows {flows}, clones {clones}, index {index}")?;
    writeln!(out, "routes            {}", list(&status.routes))?;
    writeln!(out, "next hops         {}", list(&status.next_hops))?;
    writeln!(out, "resyncs           {}", list(&status.resyncs))?;
    writeln!(out, "netlink overruns  {}", status.netlink_overruns)?;
    writeln!(
        out,
        "audits            {}, disagreements {}",
        status.audits, status.audit_mismatches
    )?;
    writeln!(out, "redirect errors   {}", redirect_errors(status))?;
    writeln!(out, "map memory        {} bytes", status.map_memory_bytes)?;
    writeln!(out, "own memory        {} bytes", status.resident_memory_bytes)?;
    writeln!(out)?;
    setting_table(status).write("", out)
}

fn write_verdict(status: &Status, out: &mut dyn Write) -> io::Result<()> {
    let Status { version, pid, uptime_seconds, .. } = status;
    let up = human(*uptime_seconds);
    write!(out, "route-cache {}, pid {pid}, up {up}", printable(version))?;
    match &status.netns {
        Some(netns) => writeln!(out, ", serving network namespace {}", printable(netns))?,
        None => writeln!(out)?,
    }
    let FamilyStatus { accelerating, reasons, codes } = &status.ipv6;
    write_family("IPv4", status.accelerating, &with_codes(&status.codes, &status.reasons), out)?;
    write_family("IPv6", *accelerating, &with_codes(codes, reasons), out)
}

fn write_family(
    title: &str,
    accelerating: bool,
    reasons: &[String],
    out: &mut dyn Write,
) -> io::Result<()> {
    if accelerating {
        return writeln!(out, "{title}: accelerating");
    }
    writeln!(out, "{title}: every packet is left to the kernel, because")?;
    reasons.iter().try_for_each(|reason| writeln!(out, "  {}", printable(reason)))
}

/// Outcomes that happened, the most frequent first.
fn outcome_table(status: &Status) -> Table<4> {
    let total = status.outcomes.values().map(|count| count.packets).sum::<u64>();
    let share = |packets: u64| format!("{:.1}%", packets as f64 * 100.0 / total.max(1) as f64);
    let mut table =
        Table::new([("OUTCOME", Left), ("PACKETS", Right), ("SHARE", Right), ("BYTES", Right)]);
    let mut happened: Vec<_> =
        status.outcomes.iter().filter(|(_, count)| count.packets > 0).collect();
    happened.sort_by_key(|(_, count)| std::cmp::Reverse(count.packets));
    for (outcome, count) in happened {
        table.row([
            outcome.clone(),
            count.packets.to_string(),
            share(count.packets),
            count.bytes.to_string(),
        ]);
    }
    let bytes = status.outcomes.values().map(|count| count.bytes).sum::<u64>();
    table.row(["total".to_owned(), total.to_string(), share(total), bytes.to_string()]);
    table
}

fn clone_table(status: &Status) -> Table<8> {
    let mut table = Table::new([
        ("CLONES", Left),
        ("CPU", Right),
        ("LIVE", Right),
        ("CAPACITY", Right),
        ("CREATED", Right),
        ("EXPIRED", Right),
        ("REFUSED", Right),
        ("DEFERRED", Right),
    ]);
    for clones in &status.clones {
        table.row([
            clones.family.clone(),
            clones.cpu.to_string(),
            clones.live.to_string(),
            clones.capacity.to_string(),
            clones.created.to_string(),
            clones.expired.values().sum::<u64>().to_string(),
            clones.refused.to_string(),
            clones.deferred.to_string(),
        ]);
    }
    table
}

fn setting_table(status: &Status) -> Table<3> {
    let mut table = Table::new([("SETTING", Left), ("VALUE", Right), ("FROM", Left)]);
    for (name, setting) in &status.settings {
        table.row([
            name.clone(),
            printable(&setting.value).into(),
            printable(&setting.origin).into(),
        ]);
    }
    table
}

/// `right ENXIO 12`, or why they are not counted.
fn redirect_errors(status: &Status) -> String {
    if let Some(why) = &status.redirect_errors_unknown {
        return format!("not counted: {}", printable(why));
    }
    let entry = |entry: &RedirectErrorEntry| {
        format!("{} {} {}", printable(&entry.interface), printable(&entry.cause), entry.packets)
    };
    let entries: Vec<_> = status.redirect_errors.iter().map(entry).collect();
    if entries.is_empty() { "0".to_owned() } else { entries.join(", ") }
}

/// `usable 12, incomplete 1`.
fn list(counts: &BTreeMap<String, u64>) -> String {
    if counts.is_empty() {
        return "0".to_owned();
    }
    let count = |(name, count): (&String, &u64)| format!("{} {count}", printable(name));
    counts.iter().map(count).collect::<Vec<_>>().join(", ")
}

//! The summary.

use std::fmt;

use comfy_table::{CellAlignment, Table, presets::UTF8_HORIZONTAL_ONLY};
use serde_json::Value;

use super::{
    checks::Checks,
    meter::Done,
    traffic::{flood::Flooded, iperf::Tcp, probe::Probed},
};

/// Packets that the kernel may forward in a step that is the cache's: the first of a flow, and while a neighbour is probed.
const A_FEW: u64 = 16;

/// All that was seen.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) kernel: Measured,
    pub(super) cache: Measured,
    pub(super) checks: Checks,
    status: Value,
    /// Checks that were made when the report was printed.
    shown: std::cell::Cell<usize>,
}

/// What can be compared with and without the cache.
#[derive(Debug, Default)]
pub(super) struct Measured {
    pub(super) small: Flooded,
    pub(super) tcp: Tcp,
    pub(super) tcp_default: Tcp,
}

impl Report {
    /// Takes the agent's own view at the end.
    pub(super) fn take_status(&mut self, status: Value) {
        let native = |i: &Value| i["mode"] == "native" && i["accelerating"] == true;
        let interfaces = status["interfaces"].as_array().cloned().unwrap_or_default();
        self.checks.note(
            interfaces.len() == 2 && interfaces.iter().all(native),
            format!(
                "the agent is attached natively to {} interfaces of 2",
                interfaces.iter().filter(|i| native(i)).count()
            ),
        );
        self.status = status;
    }

    /// Checks that XDP forwarded what was sent, and the kernel no more than a few packets.
    pub(super) fn forwarded_by_xdp(&mut self, what: &str, sent: u64, done: &Done) {
        let (xdp, clones, kernel) = (done.by_xdp(), done.hits(), done.by_kernel);
        // One complete checksum in 65,536 looks like a partial one by chance, and its packet is left to the kernel.
        let few = A_FEW + xdp / 16_384;
        self.checks.note(
            xdp + few >= sent && xdp + kernel >= sent && clones > 0 && kernel <= few,
            format!(
                "{what}: at least {sent} packets to forward; XDP forwarded {xdp} ({clones} by clones or flows), the kernel {kernel}"
            ),
        );
    }

    /// Checks that every numbered datagram arrived.
    pub(super) fn probed(&mut self, phase: &str, probed: Probed) {
        let Probed { sent, arrived, duplicates, damaged } = probed;
        self.checks.note(
            probed.is_perfect(),
            format!("{phase}: {arrived} of {sent} numbered datagrams arrived, {duplicates} twice, {damaged} damaged"),
        );
    }

    /// Whether every check held.
    pub(super) fn held(&self) -> bool {
        self.checks.all_hold()
    }

    /// Prints the checks that were made since the report was printed.
    pub(super) fn print_last_checks(&self) {
        print!("{}", self.checks.lines(self.shown.get()));
    }

    fn comparison(&self) -> Table {
        let mut table = table(&["", "kernel only", "with the cache", "ratio"]);
        let mut row = |name: &str, values: (f64, f64), text: fn(f64) -> String| {
            let ratio = format!("{:.2}", values.1 / values.0);
            table.add_row([name.to_owned(), text(values.0), text(values.1), ratio]);
        };
        let (kernel, cache) = (&self.kernel, &self.cache);
        row("small packets per second", (kernel.small.rate(), cache.small.rate()), thousands);
        let tcp = |m: &Measured| m.tcp.bits_per_second;
        row("TCP, complete checksums", (tcp(kernel), tcp(cache)), gigabits);
        let tcp = |m: &Measured| m.tcp_default.bits_per_second;
        row("TCP, default offloads *", (tcp(kernel), tcp(cache)), gigabits);
        table
    }

    fn outcomes(&self) -> Table {
        let mut table = table(&["outcome", "packets", "bytes"]);
        for (name, count) in self.status["outcomes"].as_object().into_iter().flatten() {
            let number = |field: &str| count[field].as_u64().unwrap_or_default();
            if number("packets") > 0 {
                let cells = [number("packets"), number("bytes")].map(|n| thousands(n as f64));
                table.add_row([name.clone()].into_iter().chain(cells));
            }
        }
        table
    }

    fn clones(&self) -> Table {
        let mut table =
            table(&["clones of CPU", "live", "capacity", "created", "expired", "refused"]);
        for clones in self.status["clones"].as_array().into_iter().flatten() {
            let expired = clones["expired"].as_object().into_iter().flatten();
            let expired: u64 = expired.filter_map(|(_, count)| count.as_u64()).sum();
            let cell = |field: &str| clones[field].to_string();
            let cells = ["cpu", "live", "capacity", "created"].map(cell);
            table.add_row(cells.into_iter().chain([expired.to_string(), cell("refused")]));
        }
        table
    }

    /// Packets forwarded by a clone, of all that XDP forwarded.
    fn hit_ratio(&self) -> f64 {
        let packets = |name: &str| {
            self.status["outcomes"][name]["packets"].as_u64().unwrap_or_default() as f64
        };
        let hits = packets("forwarded_clone") + packets("forwarded_flow");
        100.0 * hits / (hits + packets("forwarded_route")).max(1.0)
    }
}

/// What a reader of the first table should know.
const NOTES: &str = "\
* Hosts leave checksums to be completed; the cache leaves such packets to the kernel, which does that (row 39a).
Bulk TCP over veth is slower with *any* XDP program on the router: a veth sender hands over merged segments of up to
64 KB, and attaching XDP takes this segmentation offload away from it, so that every frame is handled alone. Frames from
a wire come alone anyway; there the packets per second count.
Small packets start as frames of a network card do, without the sender's stack, and end at the server's driver.
Client, router and server share this machine's CPUs: their cost is in every figure, and ratios say more than rates.";

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shown.set(self.checks.len());
        writeln!(f, "{}\n{NOTES}\n", self.comparison())?;
        writeln!(f, "{}\n\n{}\n", self.outcomes(), self.clones())?;
        writeln!(
            f,
            "hit ratio: {:.3} % of the packets that XDP forwarded found a clone",
            self.hit_ratio()
        )?;
        writeln!(
            f,
            "TCP segments sent again: {} kernel only, {} with the cache; at default offloads {} and {}\n",
            self.kernel.tcp.retransmits,
            self.cache.tcp.retransmits,
            self.kernel.tcp_default.retransmits,
            self.cache.tcp_default.retransmits,
        )?;
        write!(f, "{}", self.checks.lines(0))
    }
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY).set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn gigabits(bits: f64) -> String {
    format!("{:.2} Gbit/s", bits / 1e9)
}

/// A whole number, its thousands set apart.
fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn thousands_are_set_apart() {
        let cases = [(0.0, "0"), (999.0, "999"), (1000.0, "1,000"), (1_234_567.4, "1,234,567")];
        for (number, text) in cases {
            assert_eq!(super::thousands(number), text);
        }
    }
}

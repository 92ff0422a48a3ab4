//! `audit`: what the kernel says of every clone.

use std::io::{self, Write};

use super::table::{
    Align::{Left, Right},
    Table,
};
use crate::control::protocol::AuditReport;

pub(super) fn write(report: &AuditReport, out: &mut dyn Write) -> io::Result<()> {
    let AuditReport { checked, void, unsure, differences } = report;
    if !differences.is_empty() {
        let mut table = Table::new([
            ("DESTINATION", Left),
            ("CPU", Right),
            ("DIFFERENCE", Left),
            ("CLONE", Left),
            ("KERNEL", Left),
        ]);
        for found in differences {
            table.row([
                found.dst.to_string(),
                found.cpu.to_string(),
                found.difference.clone(),
                found.clone.clone(),
                found.kernel.clone(),
            ]);
        }
        table.write("", out)?;
    }
    let count = differences.len();
    let plural = if count == 1 { "" } else { "s" };
    write!(out, "{checked} clones checked, {count} difference{plural}")?;
    if *void > 0 {
        write!(out, ", {void} not in use any more")?;
    }
    if *unsure > 0 {
        write!(out, ", {unsure} unsure: the kernel's tables change too fast, try again")?;
    }
    writeln!(out)
}

//! Whole dumps of the kernel's tables, repeated until one is consistent.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::{
    message::Event,
    netlink::{DumpError, Dumper, Table},
    tables::Tables,
};

/// Tries for one table, whose dumps the kernel keeps interrupting.
const TRIES: u32 = 10;

/// Before the second try; doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// Reads all tables of the calling thread's network namespace. Blocks.
pub(crate) fn all() -> Result<Tables> {
    let mut dumper = Dumper::open().context("cannot open a netlink socket")?;
    let mut tables = Tables::default();
    for table in Table::ALL {
        for event in consistent(&mut dumper, table)? {
            match event {
                // A dump lists the routes of a prefix in the order in which the kernel tries them.
                Event::Route { route, .. } => tables.insert_route(route, false, true),
                other => {
                    // What a dump touches is everything, and it leaves no doubt.
                    let _touched = tables.apply(other);
                }
            }
        }
    }
    Ok(tables)
}

fn consistent(dumper: &mut Dumper, table: Table) -> Result<Vec<Event>> {
    let mut pause = FIRST_PAUSE;
    for _ in 0..TRIES {
        let mut events = Vec::new();
        match dumper.dump(table, |event| events.push(event)) {
            Ok(()) => return Ok(events),
            // Kernels without the table have nothing in it.
            Err(DumpError::Unsupported) => return Ok(Vec::new()),
            Err(DumpError::Interrupted) => {
                std::thread::sleep(pause);
                pause *= 2;
            }
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read the kernel's {table:?}"));
            }
        }
    }
    bail!("the kernel's {table:?} changed during each of {TRIES} dumps")
}

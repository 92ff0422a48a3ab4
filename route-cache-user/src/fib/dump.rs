//! Whole dumps of the kernel's tables, repeated until one is consistent.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::{
    family::IpFamily,
    message::Event,
    netlink::{DumpError, Dumper, Table},
    routes::Routes,
    siblings,
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
        consistent(&mut dumper, table, &mut tables)?;
    }
    siblings::examine(&mut dumper, &mut tables)?;
    Ok(tables)
}

fn consistent(dumper: &mut Dumper, table: Table, tables: &mut Tables) -> Result<()> {
    let mut pause = FIRST_PAUSE;
    for _ in 0..TRIES {
        let mut events = Vec::new();
        let dumped = dumper.dump(table, |event| match event {
            // A dump lists the routes of a prefix in the order in which the kernel tries them. There may be a million:
            // they are not put aside, but forgotten if they turn out to be half of the truth.
            Event::Route { route, .. } => {
                let _doubt = tables.insert_route(route, false, true);
            }
            other => events.push(other),
        });
        match dumped {
            Ok(()) => {
                for event in events {
                    // What a dump touches is everything, and it leaves no doubt.
                    let _touched = tables.apply(event);
                }
                return Ok(());
            }
            // Kernels without the table have nothing in it.
            Err(DumpError::Unsupported) => return Ok(()),
            Err(DumpError::Interrupted) => {
                match table {
                    Table::Routes(IpFamily::V4) => tables.v4.routes = Routes::default(),
                    Table::Routes(IpFamily::V6) => tables.v6.routes = Routes::default(),
                    _ => {}
                }
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

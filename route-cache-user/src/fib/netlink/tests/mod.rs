//! What the parsers, the dumps and the subscriptions make of bytes and of a real kernel.
//!
//! All but [`bytes`] need root: each test has a network namespace of its own.

// A test looks for one kind of event, and every other will do as "not that".
#![allow(clippy::wildcard_enum_match_arm)]

mod bytes;
mod dump_routes;
mod dump_tables;
mod ear;
mod hear_interfaces;
mod hear_routes;
mod subscription;

use std::net::IpAddr;

use super::namespace::index;
use super::{Dumper, Table};
use crate::fib::message::{Event, Hop};

/// Everything in a table.
fn dump(table: Table) -> Vec<Event> {
    let mut events = Vec::new();
    let mut dumper = Dumper::open().expect("netlink sockets open");
    dumper.dump(table, |event| events.push(event)).expect("the kernel answers");
    events
}

/// A plain next hop on the device `left`.
fn hop(gateway: Option<[u8; 4]>) -> Hop {
    Hop {
        ifindex: index("left"),
        gateway: gateway.map(IpAddr::from),
        encap: false,
        weight: 1,
        flags: 0,
    }
}

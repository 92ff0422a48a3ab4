//! What the kernel says over netlink, turned into [`Event`](super::message::Event)s.
//!
//! ```text
//! Monitor (subscriptions) ─┐
//!                          ├─ wire (messages, attributes) ─ event (which object?) ─ link, route, … ─ Event
//! Dumper (whole tables) ───┘
//! ```
//!
//! The codec is the product's own because a full table of a million routes comes through it: it
//! reads in place, allocates only where an event holds text or several next hops, and answers bytes
//! it cannot read with [`Malformed`], never with a panic.

mod address;
mod bell;
mod confirm;
mod dump;
mod event;
mod exchange;
mod get_route;
mod hop;
mod link;
mod monitor;
mod neighbour;
mod netconf;
mod netdev;
mod nexthop;
mod qdisc;
mod request;
mod route;
mod rule;
mod wire;

#[cfg(test)]
pub(crate) mod namespace;
#[cfg(test)]
mod tests;

pub(crate) use bell::Bell;
pub(crate) use dump::{Dumper, Table};
pub(crate) use event::{RTM_GETNEXTHOP, parse as parse_event};
pub(crate) use exchange::{DumpError, Exchange};
pub(crate) use get_route::{RTM_F_FIB_MATCH, route_question};
pub(crate) use monitor::{Batch, Monitor, Received};
pub(crate) use request::Request;
pub(crate) use wire::{Attribute, Malformed, Message};

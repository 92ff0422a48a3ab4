//! The mirror of the kernel's forwarding tables.
//!
//! ```text
//! netlink ─► events ─► tables ─► verdict (pure) ─► plan (wanted − installed) ─► install (map writes)
//! ```
//!
//! - [`message`]: what the kernel says; [`netlink`]: how it is heard; [`interlock`]: what it does not say and has to be
//!   asked for.
//! - [`dump`]: whole dumps; [`tables`]: what was said so far; [`verdict`]: what may be done about it, and why not.
//! - [`rules`], [`vlan`]: what of it is judged apart; [`why`]: the reasons, by code.
//! - [`mirror`]: both, and what has changed; [`slots`], [`hops`], [`groups`]: what was handed out in the data plane.
//! - [`plan`]: what is to be written there; [`install`]: writing it, in the order that keeps old answers from looking new;
//!   [`first`]: the routes of the start, which are written while they are planned.

pub(crate) mod dump;
pub(crate) mod egress;
pub(crate) mod family;
pub(crate) mod first;
pub(crate) mod groups;
mod hashed;
pub(crate) mod hops;
pub(crate) mod index;
pub(crate) mod install;
pub(crate) mod installed;
pub(crate) mod interlock;
mod ip_family;
pub(crate) mod message;
pub(crate) mod mirror;
pub(crate) mod netlink;
pub(crate) mod plan;
mod plan_groups;
#[cfg(test)]
mod plan_test;
pub(crate) mod pool;
pub(crate) mod routes;
pub(crate) mod rules;
pub(crate) mod siblings;
mod slots;
pub(crate) mod tables;
pub(crate) mod verdict;
pub(crate) mod vlan;
#[cfg(test)]
mod ways_back_test;
pub(crate) mod why;

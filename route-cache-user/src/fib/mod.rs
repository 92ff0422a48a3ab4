//! The mirror of the kernel's forwarding tables.
//!
//! ```text
//! netlink ─► events ─► tables ─► verdict (pure) ─► plan (wanted − installed) ─► install (map writes)
//! ```
//!
//! - [`message`]: what the kernel says; [`netlink`]: how it is heard; [`interlock`]: what it does not say and has to be
//!   asked for.
//! - [`tables`]: what it has said so far; [`verdict`]: what may be done about it, and why not.
//! - [`slots`], [`hops`]: what was handed out in the data plane; [`plan`]: what is to be written there; [`install`]:
//!   writing it, in the order that keeps old answers from looking new.

pub(crate) mod hops;
pub(crate) mod install;
pub(crate) mod interlock;
pub(crate) mod message;
pub(crate) mod netlink;
pub(crate) mod plan;
pub(crate) mod slots;
pub(crate) mod tables;
pub(crate) mod verdict;

//! The kernel's forwarding tables, as the agent sees them.

mod interlock;
mod message;
mod netlink;

//! Network namespaces, veth links, frames and traffic: what the lab and the tests of Route Cache run in.
//!
//! ```text
//!  client              router                    server
//!  eth0 ──────── left        right ──────── eth0
//!  10.0.1.2      10.0.1.1    10.0.2.1       10.0.2.2
//! ```
//!
//! [`Lab`] builds these three namespaces, [`Agent`] runs the agent in the router, [`RawSocket`] sends and captures
//! frames made by [`Frame`] and taken apart by [`Ipv4View`], and [`wait_until`] awaits a condition. Everything made here
//! has a name of [`Namespace`]'s scheme and goes when its owner is dropped, or when this process dies, however it dies.

pub mod agent;
pub mod counters;
pub mod frame;
pub mod janitor;
pub mod link;
pub mod namespace;
pub mod process;
pub mod raw_socket;
pub mod story;
mod sys;
pub mod topology;
pub mod usage;
pub mod wait;
pub mod watch;

pub use agent::{Agent, Readiness};
pub use counters::Snmp;
pub use frame::{Frame, Ipv4View};
pub use namespace::Namespace;
pub use process::Running;
pub use raw_socket::RawSocket;
pub use topology::{Checksums, Host, Lab};
pub use usage::Usage;
pub use wait::{patience, wait_for, wait_until};
pub use watch::Watch;

//! The agent beside real routing daemons, BIRD 2 and FRR, as Debian packages them. Needs root.
//!
//! ```text
//!  client              router                     server
//!  eth0 ──────── left         right ──────── eth0   10.0.2.2, AS 65002
//!  10.0.1.2                                        other
//!                             right2 ─────── eth0   10.0.3.2, AS 65003
//! ```
//!
//! Server and other run a BIRD each, which announces 10,000 prefixes to the router, AS 65000. There the daemon under test
//! learns them and enters them into the kernel, with its defaults wherever nothing else is said. The agent hears of it from the
//! kernel alone. After each step packets to a sample of the prefixes have to come out where the routes lead, by XDP, and
//! `route-cache audit` finds nothing.
//!
//! - [`speaker`]: an upstream. [`daemon`]: what is under test. [`place`]: all of it together, and packets.
//! - `following`: routes come, move and go. `restarting`: the daemon does, gracefully. `both_ways`: ECMP.
//! - `full_table`: a table as large as the Internet's.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod daemon;
mod directory;
mod place;
mod speaker;

mod both_ways;
mod following;
mod full_table;
mod restarting;

//! The agent in a namespace, with real netlink and real frames. Needs root.
//!
//! ```text
//!  client              router                     server
//!  eth0 ──────── left         right ──────── eth0   10.0.2.2, next hop of 10.9.0.0/16
//!  10.0.1.2                                         other
//!                             right2 ─────── eth0   10.0.3.2
//! ```
//!
//! Most tests send a stream of numbered frames from the client to 10.9.0.1, which nobody owns, let something happen to
//! the router, and look where each frame came out: what was sent later than a bound after the change has to be where
//! the kernel alone would have sent it. No other traffic answers, so that the counts of the agent are exact.
//!
//! - `forwarding`: packets arrive, and their bytes are those of the kernel. `iperf`: so do TCP and UDP of real hosts.
//! - `next_packet`: routes, next hops, neighbours, interfaces and addresses change.
//! - `ipv6`: the same of IPv6, with real hosts.
//! - `standing_aside`: settings that leave the packets to the kernel. `bypassing`: what else XDP would bypass.
//! - `ecmp`, `ecmp6`: routes by several next hops. `vlan`: VLAN devices and VRFs.
//! - `failing`: redirects that come to nothing. `probing`: an egress tried by a frame of the agent's own.
//! - `attaching`, `refusals`: what the agent holds on to, and what it does not start with.
//! - `life`: the agent ends, or is stopped.
//! - `clones`, `neighbours`, `asking`: what it keeps, keeps alive, and tells.
//! - `explaining`: what it tells of a packet, step by step, beside the kernel's answer.
//! - `auditing`: the kernel is asked whether it agrees. `counters`: which of the kernel's counters stand still.
//! - `expiry`, `shrinking`, `pressure`: the life of a clone, timed, and what shortens it.
//! - `memory`: pressure that is real. `clock_jumps`: clocks that jump or stand still.
//! - `purging`: what takes clones along. `configured`: settings from files, and a reload.
//! - `orders`, `monitoring`: what the operator has it do, and watches.
//! - `change_latency`: how soon a change takes effect, with few and with many clones.
//! - `bursts`: many changes in a row, and what they take.
//! - `consistency`: all of it at random and at once.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod router;
mod rtnetlink;
mod stream;
mod traffic;

mod asking;
mod attaching;
mod auditing;
mod bursts;
mod bypassing;
mod change_latency;
mod clock_jumps;
mod clones;
mod configured;
mod consistency;
mod counters;
mod ecmp;
mod ecmp6;
mod expiry;
mod explaining;
mod failing;
mod forwarding;
mod iperf;
mod ipv6;
mod life;
mod memory;
mod monitoring;
mod neighbours;
mod next_packet;
mod orders;
mod pressure;
mod probing;
mod purging;
mod refusals;
mod shrinking;
mod standing_aside;
mod vlan;

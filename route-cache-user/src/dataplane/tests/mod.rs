//! The loaded program, run on frames: what comes out, byte for byte, and what was counted.
//!
//! ```text
//! frame ─► BPF_PROG_TEST_RUN, as if received by `in` ─► action, bytes, counters ─► compared with a plain model
//! ```
//!
//! - [`bench`]: the object the agent embeds, loaded in a network namespace of the test's own, its maps written by the
//!   agent's own [`Writer`](crate::maps::Writer). [`mirror`]: the same, with the maps filled from kernel tables.
//! - [`frame`] builds frames, [`mutate`] breaks them; [`model`] says what must become of them, without a line of the program's code; [`world`]
//!   says why a frame passes.
//! - One file per subject. The names of the tests begin with the row of forwarding.md or the S-number of the
//!   specification that they hold.
//!
//! All of it needs root.

mod bench;
mod frame;
mod mirror;
mod model;
mod mutate;
mod world;

mod addresses;
mod audit;
mod budget;
mod checksums;
mod clones;
mod first;
mod flood;
mod flows;
mod freshness;
mod header;
mod index;
mod link;
mod live;
mod memory;
mod neighbours;
mod probe;
mod routes;
mod size;
mod sweep;
mod torn;
mod ttl;

//! The policy against the seed's rules.
//!
//! - [`model`]: the rules, written as the table in which they stand, with an `expire` field and flags on each clone.
//! - [`data_plane`]: clone tables as the XDP program fills them: `last_used` and a generation, no more.
//! - [`script`], [`driver`]: one random script for both, compared after every step.
//! - [`seed`]: a test for each rule by its number.

mod data_plane;
mod driver;
mod model;
mod script;
mod seed;

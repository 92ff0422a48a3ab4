//! What a Prometheus server sees.
//!
//! ```text
//! GET /metrics ── scrape ── Source::status(), once ── collector (values by family) ── text format
//! ```
//!
//! Nothing is counted here: every value is read from the agent when it is asked for. `families` is the table of all
//! metrics.

mod bind;
mod collector;
mod families;
mod measured;
mod pages;
mod serve;

#[cfg(test)]
mod tests;

pub(crate) use self::{
    bind::bind,
    measured::Measured,
    serve::{Limits, serve},
};

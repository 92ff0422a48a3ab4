//! The control socket: how people and scripts ask a running agent what it does.
//!
//! ```text
//! bind ── a Unix socket, mode 0660, before the agent enters another network namespace
//! serve ── accept (bounded) ── converse: one request line ── answer (blocking task) ── one answer line
//! connect ── the client's end
//! ```
//!
//! Who may connect is decided by the mode of the socket alone. Nothing that can be asked changes anything.

pub(crate) mod accept;
mod answer;
mod bind;
mod connect;
mod converse;
pub(crate) mod protocol;
mod serve;
mod source;

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use self::{
    bind::bind,
    connect::connect,
    serve::{Limits, serve},
    source::Source,
};

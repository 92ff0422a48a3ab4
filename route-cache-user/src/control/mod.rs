//! The control socket: how people and scripts ask a running agent what it does, and tell it what to do.
//!
//! ```text
//! bind ── a Unix socket, mode 0660, before the agent enters another network namespace
//! serve ── accept (bounded) ── converse: one request line ┬─ answer (blocking task) ── one answer line
//!                                                         └─ stream: an event a line, while the client follows
//! connect ── the client's end
//! ```
//!
//! Who may connect, and so who may change anything, is decided by the mode of the socket alone.

pub(crate) mod accept;
pub(crate) mod action;
mod answer;
mod bind;
mod connect;
mod converse;
mod packet;
pub(crate) mod protocol;
mod serve;
mod source;
mod stream;

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod followers_test;
#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
mod verbs_test;

pub(crate) use self::{
    action::Action,
    bind::bind,
    connect::connect,
    packet::Packet,
    serve::{Limits, serve},
    source::Source,
};

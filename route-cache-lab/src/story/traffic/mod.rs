//! Traffic from client to server.

pub mod flood;
mod frame_source;
mod instruction;
pub mod iperf;
pub mod ping;
pub mod probe;

//! Traffic from client to server.

pub mod flood;
pub mod iperf;
pub mod ping;
pub mod probe;

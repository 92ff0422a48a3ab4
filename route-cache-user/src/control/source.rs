//! What the control socket and the metrics ask of the agent.

use std::sync::Arc;

use anyhow::Result;

use super::{
    Action, Packet,
    protocol::{
        AuditReport, CloneEntry, Explanation, InterfaceEntry, NextHopEntry, RouteEntry, Status,
    },
};
use crate::events::Journal;

/// The agent, as seen by those who ask. Everything is read when asked.
///
/// The calls may block (they walk BPF maps), and come from blocking tasks only.
pub(crate) trait Source: Send + Sync + 'static {
    /// The agent as a whole.
    fn status(&self) -> Result<Status>;
    /// All clones of all CPUs.
    fn clones(&self) -> Result<Vec<CloneEntry>>;
    /// All mirrored routes.
    fn routes(&self) -> Result<Vec<RouteEntry>>;
    /// All next hops.
    fn next_hops(&self) -> Result<Vec<NextHopEntry>>;
    /// All interfaces that are attached or wanted.
    fn interfaces(&self) -> Result<Vec<InterfaceEntry>>;
    /// What is measured rather than counted.
    fn histograms(&self) -> Vec<prometheus::Histogram> {
        Vec::new()
    }
    /// What happens to a packet.
    fn get(&self, packet: &Packet) -> Result<Explanation>;
    /// What the kernel says of every clone.
    fn audit(&self) -> Result<AuditReport>;
    /// Does it, and says in a sentence for people what was done.
    fn act(&self, action: Action) -> Result<String>;
    /// What happens. Does not block.
    fn events(&self) -> Arc<Journal>;
}

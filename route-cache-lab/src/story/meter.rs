//! What the router has done between two moments, by its own counters and by the agent's.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::{Agent, Lab, Snmp};

/// A reading of both.
#[derive(Debug)]
pub(super) struct Meter {
    kernel_forwarded: u64,
    outcomes: BTreeMap<String, u64>,
}

/// The difference of two readings.
#[derive(Debug)]
pub(super) struct Done {
    /// Packets that the router's kernel has forwarded.
    pub(super) by_kernel: u64,
    outcomes: BTreeMap<String, u64>,
}

impl Meter {
    pub(super) fn read(lab: &Lab, agent: &Agent) -> Result<Self> {
        let status = agent.status()?;
        let outcomes = status["outcomes"].as_object().into_iter().flatten();
        let packets = |(name, count): (&String, &serde_json::Value)| {
            (name.clone(), count["packets"].as_u64().unwrap_or_default())
        };
        Ok(Self {
            kernel_forwarded: Snmp::read(&lab.router)?.forwarded(),
            outcomes: outcomes.map(packets).collect(),
        })
    }

    /// What was done since this reading.
    pub(super) fn since(&self, lab: &Lab, agent: &Agent) -> Result<Done> {
        let now = Self::read(lab, agent)?;
        let before = |name: &String| self.outcomes.get(name).copied().unwrap_or_default();
        let grown = now.outcomes.iter().map(|(name, count)| (name.clone(), count - before(name)));
        Ok(Done {
            by_kernel: now.kernel_forwarded - self.kernel_forwarded,
            outcomes: grown.collect(),
        })
    }
}

impl Done {
    /// Packets that ended in this outcome.
    pub(super) fn outcome(&self, name: &str) -> u64 {
        self.outcomes.get(name).copied().unwrap_or_default()
    }

    /// Packets that a clone or a flow has forwarded.
    pub(super) fn hits(&self) -> u64 {
        self.outcome("forwarded_clone") + self.outcome("forwarded_flow")
    }

    /// Packets that XDP has forwarded.
    pub(super) fn by_xdp(&self) -> u64 {
        self.hits() + self.outcome("forwarded_route")
    }
}

//! What stands in front of the routes while the cases run.

use clap::ValueEnum;

use crate::case::Case;

/// The tiers of the cache that are switched on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Tiers {
    /// Flows and clones, the routes in tries.
    All,
    /// Clones, but no flows.
    Clones,
    /// Neither: routes alone.
    Routes,
    /// Flows and clones, the IPv4 routes in the index.
    Index,
}

const ROUTE: &str = "forwarded_route";
const CLONE: &str = "forwarded_clone";
const FLOW: &str = "forwarded_flow";

impl Tiers {
    /// What the agent is told.
    pub const fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::All => &["--index", "off"],
            Self::Clones => &["--index", "off", "--flow-entries", "0"],
            Self::Routes => &["--index", "off", "--cache=off"],
            Self::Index => &["--index", "on"],
        }
    }

    /// Whether there are clones.
    pub const fn has_clones(self) -> bool {
        !matches!(self, Self::Routes)
    }

    /// The outcomes that the frames of a case go through as they are sent again and again.
    pub fn outcomes(self, case: &Case) -> &'static [&'static str] {
        // Several next hops and a route's own MTU are looked at for every packet.
        let looked_at = [" mtu ", " nexthop via ", " group "];
        let has_flow =
            !case.setup.iter().any(|set| looked_at.iter().any(|word| set.contains(word)));
        match self {
            Self::All | Self::Index if has_flow => &[ROUTE, CLONE, FLOW],
            Self::All | Self::Index | Self::Clones => &[ROUTE, CLONE],
            Self::Routes => &[ROUTE],
        }
    }
}

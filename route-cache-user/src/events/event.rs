//! What can happen. The field names are those of `monitor --json`: a stable interface.

use std::{borrow::Cow, net::IpAddr};

use serde::{Deserialize, Serialize};

/// A word of the agent's own: borrowed where it is made, owned where it is read.
type Word = Cow<'static, str>;

/// Something that happened, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Since the agent started.
    pub(crate) at_seconds: f64,
    /// What it was.
    #[serde(flatten)]
    pub(crate) event: Event,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(crate) enum Event {
    /// A clone was removed. When there are many, some are only counted: see [`Event::ClonesExpired`].
    CloneExpired {
        /// Its destination.
        dst: IpAddr,
        /// Whose table it was in.
        cpu: u32,
        /// Why: as in the metrics.
        reason: Word,
        /// Since its last packet.
        idle_seconds: f64,
    },
    /// Clones were made. The data plane does not announce each.
    ClonesCreated {
        /// In whose table.
        cpu: u32,
        /// How many since this was last said.
        count: u64,
    },
    /// Clones were removed that [`Event::CloneExpired`] does not name.
    ClonesExpired {
        /// From whose table.
        cpu: u32,
        /// Why: as in the metrics.
        reason: Word,
        /// How many.
        count: u64,
    },
    /// Idle clones live for another time from now on.
    Timeout {
        /// Before.
        from_seconds: f64,
        /// Now.
        to_seconds: f64,
        /// What moved it.
        direction: Direction,
    },
    /// All clones of these CPUs had to go.
    Drain {
        /// Which.
        cpus: Vec<u32>,
    },
    /// The clones through an interface had to go.
    Purge {
        /// Which.
        dev: String,
    },
    /// The operator had clones removed.
    Flush {
        /// Which.
        what: String,
    },
    /// The kernel says else than a clone, which was removed. When there are many at once, only some are put down.
    AuditMismatch {
        /// Its destination.
        dst: IpAddr,
        /// Whose table it was in.
        cpu: u32,
        /// What the clone said.
        clone: String,
        /// What the kernel says.
        kernel: String,
    },
    /// Memory became scarcer, or less so.
    Pressure {
        /// How scarce it is now.
        level: Word,
    },
    /// Clones are looked for and made for more destinations, or for fewer.
    Admission {
        /// For `all`, `few` or `none`.
        mode: Word,
    },
    /// The kernel's tables were read as a whole again.
    Resync {
        /// Why.
        cause: Word,
    },
    /// An interface changed.
    Link {
        /// Which.
        dev: String,
        /// What it is now.
        state: Word,
    },
    /// Packets were lost behind the data plane, the first for a while of that interface and cause.
    RedirectErrors {
        /// Where.
        dev: String,
        /// Why: as in the metrics.
        cause: String,
        /// How many in the last second.
        count: u64,
    },
    /// An egress was taken out of use because redirects to it fail, is tried again, or is in use again.
    Egress {
        /// Which.
        dev: String,
        /// `out of use`, `tried again` or `in use`.
        state: Word,
        /// Why.
        reason: Option<String>,
    },
    /// A setting changed.
    Setting {
        /// Which.
        name: Word,
        /// Its value before.
        from: String,
        /// Its value now.
        to: String,
        /// Who says so.
        origin: String,
    },
    /// Events are missing here, because whoever reads this was too slow.
    Skipped {
        /// How many.
        count: u64,
    },
}

/// What moved the timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Direction {
    /// Pressure.
    Shrunk,
    /// The end of it.
    Recovered,
    /// The operator.
    Set,
}

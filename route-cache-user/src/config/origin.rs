//! Where a value came from.

use std::{collections::BTreeMap, fmt, path::Path, sync::Arc};

use super::{table::Setting, value::Value};

/// Where a value came from; a later one goes before an earlier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The table of settings.
    Default,
    /// The configuration file.
    File(Place),
    /// The environment: the variable of that setting.
    Environment(Setting),
    /// An option.
    CommandLine,
    /// `route-cache set`, until the next reload.
    ControlSocket,
}

/// A place in a file; lines and columns count from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) path: Arc<Path>,
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// A value with its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) value: Value,
    pub(crate) origin: Origin,
}

/// What one source says; or, of all settings, what they say together.
pub(crate) type Layer = BTreeMap<Setting, Given>;

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(place) => write!(f, "file {}:{}", place.path.display(), place.line),
            Self::Environment(setting) => write!(f, "environment {}", setting.variable()),
            Self::CommandLine => f.write_str("command line"),
            Self::ControlSocket => f.write_str("control socket"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.path.display(), self.line, self.column)
    }
}

//! The log: plain lines to stderr, for a journal; colours for a terminal. Its level can change while the agent runs.

use std::{io::IsTerminal as _, sync::OnceLock};

use tracing_subscriber::{
    Registry,
    filter::LevelFilter,
    fmt,
    layer::SubscriberExt as _,
    reload::{self, Handle},
    util::SubscriberInitExt as _,
};

use crate::cli::LogLevel;

static LEVEL: OnceLock<Handle<LevelFilter, Registry>> = OnceLock::new();

/// Starts to log. To be called once.
pub(crate) fn start(level: LogLevel) {
    let (filter, handle) = reload::Layer::new(LevelFilter::from(level));
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    tracing_subscriber::registry().with(filter).with(lines).init();
    // Already there only if this is called twice, which changes nothing.
    let _first = LEVEL.set(handle);
}

/// Logs at another level from now on.
pub(crate) fn set_level(level: LogLevel) {
    let set = LEVEL.get().map(|handle| handle.modify(|filter| *filter = level.into()));
    if let Some(Err(error)) = set {
        tracing::warn!("cannot change the level of the log: {error}");
    }
}

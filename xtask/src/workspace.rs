//! Where things are.

use std::{env, path::PathBuf};

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    // Set by cargo when it runs this; the value of build time otherwise.
    let manifest = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest.parent().map_or_else(|| PathBuf::from("."), PathBuf::from)
}

/// Cargo's target directory.
pub(crate) fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root().join("target"), |directory| root().join(directory))
}

/// Tools that were built for this workspace alone.
pub(crate) fn tools() -> PathBuf {
    target().join("tools")
}

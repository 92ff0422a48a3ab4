//! Root, directly or through sudo.

use std::{
    ffi::OsStr,
    os::unix::process::CommandExt,
    process::{Command, Stdio},
};

use anyhow::{Result, anyhow, bail};

use crate::invoke::{find, line};

/// Whether this process is root.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Whether a command can be run as root without a question.
pub(crate) fn without_a_question() -> bool {
    is_root()
        || Command::new("sudo")
            .args(["-n", "true"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
}

/// A command that runs as root: itself, or through sudo.
pub(crate) fn as_root(program: impl AsRef<OsStr>) -> Command {
    if is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.arg("--").arg(program);
    command
}

/// Puts a program in the place of this process, as root, so that Ctrl-C and signals go to it.
pub(crate) fn replace_with(mut command: Command) -> Result<std::convert::Infallible> {
    require()?;
    let error = command.exec();
    Err(anyhow!("cannot start `{}`: {error}", line(&command)))
}

/// Fails if there is no way to become root.
pub(crate) fn require() -> Result<()> {
    if !is_root() && find("sudo").is_none() {
        bail!("this needs root, and there is no sudo: run the same command as root");
    }
    Ok(())
}

//! Debian packages.

use std::{path::Path, process::Command};

use anyhow::Result;

use super::say;
use crate::{
    invoke::{find, run},
    privilege::{as_root, without_a_question},
};

/// Whether packages can be installed without asking anybody.
pub(super) fn available() -> bool {
    find("apt-get").is_some() && without_a_question()
}

/// The command that a person types for it.
pub(super) fn command_line(packages: &[&str]) -> String {
    let packages = packages.join(" ");
    format!("sudo apt-get update && sudo apt-get install -y --no-install-recommends {packages}")
}

/// Installs packages.
pub(super) fn install(packages: &[&str]) -> Result<()> {
    say(&format!("installing {} (apt-get)", packages.join(", ")));
    run(quiet(&mut apt()).arg("update"))?;
    let install = ["install", "-y", "--no-install-recommends"];
    run(quiet(&mut apt()).args(install).args(packages))?;
    if packages.contains(&"prometheus") {
        stop_service("prometheus")?;
    }
    Ok(())
}

/// Only its tool is wanted: the service, which the package starts where systemd runs, is not.
fn stop_service(name: &str) -> Result<()> {
    if Path::new("/run/systemd/system").exists() {
        say(&format!("stopping the service {name}, which came with its package"));
        run(as_root("systemctl").args(["disable", "--now", name]))?;
    }
    Ok(())
}

fn apt() -> Command {
    let mut command = as_root("env");
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-o", "Dpkg::Use-Pty=0"]);
    command
}

fn quiet(command: &mut Command) -> &mut Command {
    command.arg("-qq").stdout(std::io::stderr())
}

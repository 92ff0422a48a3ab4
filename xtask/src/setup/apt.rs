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

/// Packages of which only the programs are wanted, and the service that each starts where systemd runs.
const SERVICES: [(&str, &str); 3] =
    [("prometheus", "prometheus"), ("bird2", "bird"), ("frr", "frr")];

/// Installs packages.
pub(super) fn install(packages: &[&str]) -> Result<()> {
    say(&format!("installing {} (apt-get)", packages.join(", ")));
    run(quiet(&mut apt()).arg("update"))?;
    let services: Vec<&str> = SERVICES
        .iter()
        .filter(|(package, _)| packages.contains(package) && has_systemd())
        .map(|&(_, service)| service)
        .collect();
    if !services.is_empty() {
        // They must not even start: a routing daemon changes the machine's own routes.
        systemctl(&["mask", "--runtime"], &services)?;
    }
    let install = ["install", "-y", "--no-install-recommends"];
    let installed = run(quiet(&mut apt()).args(install).args(packages));
    if !services.is_empty() {
        say(&format!("disabling the services {}, which came along", services.join(", ")));
        systemctl(&["unmask", "--runtime"], &services)?;
        if installed.is_ok() {
            systemctl(&["disable", "--now"], &services)?;
        }
    }
    installed
}

fn has_systemd() -> bool {
    Path::new("/run/systemd/system").exists()
}

fn systemctl(what: &[&str], services: &[&str]) -> Result<()> {
    run(as_root("systemctl").args(what).args(services))
}

fn apt() -> Command {
    let mut command = as_root("env");
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-o", "Dpkg::Use-Pty=0"]);
    command
}

fn quiet(command: &mut Command) -> &mut Command {
    command.arg("-qq").stdout(std::io::stderr())
}

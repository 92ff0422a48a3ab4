//! The settings: one table of them, the places they come from, and what is in force in the end.
//!
//! ```text
//! table ─► default                          ┐
//! /etc/route-cache/config.toml ─► file      ├─► settings::load ─► rules ─► Settings ─► AgentOptions
//! ROUTE_CACHE_… ─► environment              │        ▲                        │
//! --… ─► command_line                       ┘        └────────── reload ◄─────┤ SIGHUP
//!                                      set::parse_setting ─► Settings::set ◄──┘ control socket
//! ```
//!
//! What stands further down wins. Every value knows where it came from, and either all of it is applied or nothing.

mod command_line;
mod environment;
mod file;
mod kind;
mod nearest;
mod origin;
mod problem;
mod reload;
mod rules;
mod set;
mod settings;
mod table;
mod toml_value;
mod value;

#[cfg(test)]
mod tests;

pub(crate) use self::{
    command_line::Options,
    environment::Environment,
    file::{ConfigFile, STANDARD_PATH},
    problem::Problems,
    settings::{Effective, Settings, Sources},
    table::Setting,
    value::Value,
};
pub(crate) use self::{reload::reload, set::parse_setting};

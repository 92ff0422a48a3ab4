//! The command line: what was asked for, and the client side of it.
//!
//! ```text
//! route-cache --interface eth0 …   parse ── AgentOptions ── (the agent)
//! route-cache config check         parse ── check_config
//! route-cache status|show|get …    parse ── run_client ── ask ── JSON, or tables for people
//! route-cache set|flush|drain|…    parse ── run_client ── ask ── a sentence that says what was done
//! route-cache monitor              parse ── run_client ── monitor ── a line for each event
//! ```

mod agent_options;
mod ask;
mod audit;
mod client;
mod command_line;
mod config_check;
pub(crate) mod duration;
mod explain;
mod happenings;
mod listings;
mod monitor;
mod packet;
mod status;
mod table;

#[cfg(test)]
mod settings_test;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod verbs_test;

pub(crate) use self::{
    agent_options::{AgentOptions, CloneOn, IndexMode, LogLevel, XdpMode},
    client::run_client,
    command_line::{ClientCommand, Invocation, parse},
    config_check::check_config,
};

//! The agent of Route Cache, and its command line.
//!
//! - [`config`]: what is set, and by whom.
//! - [`cli`], [`control`], [`metrics`], [`view`]: what people and machines ask, and what they are told.
//! - [`agent`]: starts and stops the tasks; [`fib`]: the mirror of the kernel's tables; [`sweep`]: the life of clones;
//!   [`audit`]: whether the kernel agrees with them.
//! - [`dataplane`], [`maps`], [`sys`]: the BPF object, its maps, and the system calls no library has.

mod agent;
mod audit;
mod cli;
mod config;
mod control;
mod dataplane;
mod events;
mod fib;
mod log;
mod maps;
mod metrics;
mod netns;
mod sweep;
mod sys;
mod turns;
mod view;

use std::process::ExitCode;

use crate::cli::Invocation;

fn main() -> ExitCode {
    match cli::parse() {
        Invocation::Client { command, control_socket } => cli::run_client(command, &control_socket),
        Invocation::CheckConfig { sources } => cli::check_config(sources),
        Invocation::Agent(options) => {
            log::start(options.log_level);
            match agent::run(*options) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    eprintln!("route-cache: {error:#}");
                    ExitCode::FAILURE
                }
            }
        }
    }
}

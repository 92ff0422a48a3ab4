//! The agent of Route Cache.
#![allow(dead_code, unused_imports)]

mod cli;
mod control;
mod metrics;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::parse() {
        cli::Invocation::Client { command, control_socket } => {
            cli::run_client(command, &control_socket)
        }
        cli::Invocation::Agent(options) => {
            println!("{options:?}");
            ExitCode::SUCCESS
        }
    }
}

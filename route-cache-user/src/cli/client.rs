//! The client commands: ask, print, and say by the exit code how it went.

use std::{
    io::{self, IsTerminal, Write},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context, Result};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    ClientCommand, ask::ask, audit, explain, listings, monitor::monitor, status, table::printable,
};
use crate::{
    control::protocol::{AuditReport, CloneEntry, Done, NextHopEntry, Request, RouteEntry},
    fib::family::IpFamily,
};

/// Asks the agent on `socket` and prints its answer; an error goes to stderr and is 1.
pub(crate) fn run_client(command: ClientCommand, socket: &Path) -> ExitCode {
    let stdout = io::stdout();
    let pretty = stdout.is_terminal();
    let mut out = io::BufWriter::with_capacity(1 << 16, stdout.lock());
    match ask_and_print(command, socket, pretty, &mut out) {
        Ok(code) => code,
        Err(error) => {
            // Nothing is left to do if stderr is closed as well.
            let _ = writeln!(io::stderr(), "error: {}", printable(&format!("{error:#}")));
            ExitCode::FAILURE
        }
    }
}

/// Asks, prints the answer to `out`, and says with what exit code to end.
pub(super) fn ask_and_print(
    command: ClientCommand,
    socket: &Path,
    pretty: bool,
    out: &mut dyn Write,
) -> Result<ExitCode> {
    let (json, family) = (command.json(), command.family());
    let printer = Printer { request: command.request(), json, socket, pretty, out };
    let done = match printer.request {
        Request::Status {} => printer.print(|answer, out| status::write(&answer, out)),
        Request::Clones {} => {
            let of = |clone: &CloneEntry| IpFamily::of(clone.dst);
            printer.print_those(family, of, listings::clones)
        }
        Request::Routes {} => {
            let of = |route: &RouteEntry| IpFamily::of(route.prefix.addr());
            printer.print_those(family, of, listings::routes)
        }
        Request::NextHops {} => {
            let of = |next_hop: &NextHopEntry| IpFamily::of(next_hop.address);
            printer.print_those(family, of, listings::next_hops)
        }
        Request::Interfaces {} => printer.print(listings::interfaces),
        Request::Get { .. } => printer.print(|answer, out| explain::write(&answer, out)),
        Request::Audit {} => return printer.print_audit(),
        Request::Set { .. } | Request::Flush { .. } | Request::Drain {} | Request::Purge { .. } => {
            printer.print(what_was_done)
        }
        Request::Monitor { follow } => monitor(socket, follow, json, printer.out),
    };
    done.map(|()| ExitCode::SUCCESS)
}

fn what_was_done(done: Done, out: &mut dyn Write) -> io::Result<()> {
    let Done { message } = done;
    writeln!(out, "{}", printable(&message))
}

struct Printer<'a> {
    request: Request,
    json: bool,
    socket: &'a Path,
    pretty: bool,
    out: &'a mut dyn Write,
}

impl Printer<'_> {
    fn print<T: Serialize + DeserializeOwned>(
        self,
        for_people: fn(T, &mut dyn Write) -> io::Result<()>,
    ) -> Result<()> {
        let answer: T = ask(self.socket, &self.request)?;
        self.show(answer, for_people)
    }

    /// Prints the rows of a family alone, if one is asked for.
    fn print_those<T: Serialize + DeserializeOwned>(
        self,
        wanted: Option<IpFamily>,
        of: fn(&T) -> IpFamily,
        for_people: fn(Vec<T>, &mut dyn Write) -> io::Result<()>,
    ) -> Result<()> {
        let mut rows: Vec<T> = ask(self.socket, &self.request)?;
        rows.retain(|row| wanted.is_none_or(|wanted| of(row) == wanted));
        self.show(rows, for_people)
    }

    /// What differs is a failure, and so is what could not be told.
    fn print_audit(self) -> Result<ExitCode> {
        let report: AuditReport = ask(self.socket, &self.request)?;
        let is_clean = report.differences.is_empty() && report.unsure == 0;
        self.show(report, |report, out| audit::write(&report, out))?;
        Ok(if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn show<T: Serialize>(
        self,
        answer: T,
        for_people: fn(T, &mut dyn Write) -> io::Result<()>,
    ) -> Result<()> {
        match self.write(answer, for_people) {
            // Who reads us may stop at any time (`| head`).
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written.context("cannot write the answer to stdout"),
        }
    }

    fn write<T: Serialize>(
        self,
        answer: T,
        for_people: fn(T, &mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        if !self.json {
            for_people(answer, self.out)?;
        } else if self.pretty {
            serde_json::to_writer_pretty(&mut *self.out, &answer)?;
            writeln!(self.out)?;
        } else {
            serde_json::to_writer(&mut *self.out, &answer)?;
            writeln!(self.out)?;
        }
        self.out.flush()
    }
}

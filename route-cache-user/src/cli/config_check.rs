//! `route-cache config check`: needs neither root nor an agent.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use super::table::{Align, Table, printable};
use crate::config::{Environment, Problems, Setting, Settings, Sources, Value};

/// Says what is wrong (1), or what the settings come to (0).
pub(crate) fn check_config(sources: Sources) -> ExitCode {
    match Settings::load(sources, &Environment::of_this_process()) {
        Ok(settings) => match write_settings(&settings, &mut io::stdout().lock()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                // Nothing is left to do if stderr is closed as well.
                let _ = writeln!(io::stderr(), "error: cannot write to stdout: {error}");
                ExitCode::FAILURE
            }
            Ok(()) | Err(_) => ExitCode::SUCCESS,
        },
        Err(problems) => {
            write_problems(&problems);
            ExitCode::FAILURE
        }
    }
}

/// To stderr, a line each, as compilers do it: an editor finds the place.
pub(super) fn write_problems(problems: &Problems) {
    for problem in &problems.0 {
        // Nothing is left to do if stderr is closed.
        let _ = writeln!(io::stderr(), "{}", printable(&problem.to_string()));
    }
}

/// The settings in force, with their origins.
///
/// # Errors
///
/// Those of `out`.
pub(super) fn write_settings(settings: &Settings, out: &mut dyn Write) -> io::Result<()> {
    let file = &settings.sources().file;
    // After loading, a file that must exist does exist.
    let state = if file.must_exist { "fine" } else { "not there, so it changes nothing" };
    writeln!(out, "{}: {state}", printable(&file.path.display().to_string()))?;
    let columns = [("SETTING", Align::Left), ("VALUE", Align::Left), ("FROM", Align::Left)];
    let mut table = Table::new(columns);
    for effective in settings.effective() {
        let value = effective.value.to_string();
        table.row([effective.setting.to_string(), value, effective.origin]);
    }
    table.write("", out)?;
    if settings.value(Setting::Interfaces) == Value::Names(Vec::new()) {
        writeln!(out, "No interface is named: an agent needs --interface NAME-OR-GLOB as well.")?;
    }
    out.flush()
}

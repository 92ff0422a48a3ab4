//! Reading everything again while the agent runs.

use super::{
    Environment,
    problem::{Problem, Problems},
    settings::Settings,
    table::Setting,
    value::Value,
};

/// What a reload comes to.
#[derive(Debug)]
pub(crate) struct Reloaded {
    /// What is in force from now on: what needs a restart stands as it was.
    pub(crate) settings: Settings,
    /// What changed.
    pub(crate) changed: Vec<Change>,
    /// What would have changed, but needs a restart.
    pub(crate) needs_restart: Vec<Change>,
}

/// A change of one setting; shown as `rtexpire: 1h -> 5m (file …:3)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) setting: Setting,
    pub(crate) from: Value,
    pub(crate) to: Value,
    /// Where the new value comes from.
    pub(crate) origin: String,
}

/// Reads the file and the environment again, with the same command line.
///
/// Values from the control socket end here: after a reload the agent runs as the file says. A file that was there and
/// is not any more is taken for a mistake.
///
/// # Errors
///
/// Everything that is wrong; then nothing is to change.
pub(crate) fn reload(current: &Settings) -> Result<Reloaded, Problems> {
    reload_with(current, &Environment::of_this_process())
}

/// The same with another environment.
pub(super) fn reload_with(
    current: &Settings,
    environment: &Environment,
) -> Result<Reloaded, Problems> {
    let wanted = Settings::load(current.sources().clone(), environment)?;
    if wanted.value(Setting::Interfaces) == Value::Names(Vec::new()) {
        return Err(Problem::new("no interface is named any more").into());
    }
    let mut settings = wanted.clone();
    for setting in Setting::all().filter(|setting| !setting.spec().at_run_time) {
        let given = current.given(setting);
        if given.value != wanted.given(setting).value {
            settings.put(setting, given);
        }
    }
    let needs_restart = differences(&settings, &wanted, |setting| !setting.spec().at_run_time);
    // What goes together after a restart need not go with what is in force until then.
    let settings = settings.checked().map_err(|mut problems| {
        let names: Vec<_> = needs_restart.iter().map(|change| change.setting.to_string()).collect();
        let why = format!("{} cannot change without a restart", names.join(", "));
        problems.0.push(Problem::new(why));
        problems
    })?;
    let changed = differences(current, &settings, |_| true);
    Ok(Reloaded { settings, changed, needs_restart })
}

fn differences(old: &Settings, new: &Settings, which: fn(Setting) -> bool) -> Vec<Change> {
    new.effective()
        .filter(|effective| which(effective.setting))
        .map(|new| Change {
            setting: new.setting,
            from: old.value(new.setting),
            to: new.value,
            origin: new.origin,
        })
        .filter(|change| change.from != change.to)
        .collect()
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} -> {} ({})", self.setting, self.from, self.to, self.origin)
    }
}

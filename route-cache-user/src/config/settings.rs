//! What is in force: all sources, one over the other.

use std::{path::PathBuf, time::Duration};

use super::{
    Environment,
    file::{self, ConfigFile},
    origin::{Given, Layer, Origin},
    problem::{Problem, Problems},
    rules,
    table::{Setting, TABLE},
    value::{FromValue, Value},
};

/// The sources that stay the same while the agent runs.
#[derive(Debug, Clone)]
pub(crate) struct Sources {
    /// What the options say.
    pub(crate) command_line: Layer,
    /// Where the file is.
    pub(crate) file: ConfigFile,
}

/// Every setting with its value and where it came from. They go together: see [`rules`].
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    given: Layer,
    sources: Sources,
}

/// A setting in force, to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Effective {
    /// Which.
    pub(crate) setting: Setting,
    /// What holds.
    pub(crate) value: Value,
    /// Where it came from, in words; with how it was computed, if it was.
    pub(crate) origin: String,
}

impl Settings {
    /// Command line over environment over file over default.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the file and the environment; or with the values together.
    pub(crate) fn load(sources: Sources, environment: &Environment) -> Result<Self, Problems> {
        let mut wrong = Problems::default();
        let mut given = defaults(&mut wrong);
        let file = file::read(&sources.file);
        let (variables, more) = environment.read();
        given.extend(file.layer);
        given.extend(variables);
        given.extend(sources.command_line.clone());
        wrong.0.extend(file.problems.0);
        wrong.0.extend(more.0);
        wrong.or(())?;
        let must_exist = sources.file.must_exist || file.found;
        let sources = Sources { file: ConfigFile { must_exist, ..sources.file }, ..sources };
        Self { given, sources }.checked()
    }

    /// The control socket alone, for a client. An agent goes on with the settings it has when somebody breaks the file,
    /// and must be found all the same: so what else is wrong does not matter here.
    ///
    /// # Errors
    ///
    /// If the file was asked for and cannot be read, or if the environment names an impossible socket.
    pub(crate) fn control_socket(
        sources: &Sources,
        environment: &Environment,
    ) -> Result<PathBuf, Problems> {
        let mut given = defaults(&mut Problems::default());
        let file = file::read(&sources.file);
        if sources.file.must_exist && !file.found {
            return Err(file.problems);
        }
        let variable = environment.setting(Setting::ControlSocket)?;
        given.extend(file.layer);
        given.extend(variable.map(|given| (Setting::ControlSocket, given)));
        given.extend(sources.command_line.clone());
        let settings = Self { given, sources: sources.clone() };
        Ok(settings.get(Setting::ControlSocket))
    }

    /// The same, but one value from the control socket.
    ///
    /// # Errors
    ///
    /// If it does not go with the others.
    pub(crate) fn set(&self, setting: Setting, value: Value) -> Result<Self, Problems> {
        let mut settings = self.clone();
        settings.put(setting, Given { value, origin: Origin::ControlSocket });
        settings.checked()
    }

    /// What holds for a setting: what was given, or what follows from the others.
    pub(crate) fn value(&self, setting: Setting) -> Value {
        self.computed(setting).map_or_else(|| self.given(setting).value, |(value, _)| value)
    }

    /// What holds for a setting, as the agent's own type.
    ///
    /// # Panics
    ///
    /// If the table says that it is of another kind. Every start of the agent asks for every setting.
    pub(crate) fn get<T: FromValue>(&self, setting: Setting) -> T {
        let value = self.value(setting);
        match T::from_value(value) {
            Some(value) => value,
            None => unreachable!("{setting} is a {:?}", setting.spec().kind),
        }
    }

    /// All settings in the order of the table, for people.
    pub(crate) fn effective(&self) -> impl Iterator<Item = Effective> {
        Setting::all().map(|setting| {
            let origin = self.given(setting).origin;
            let (value, origin) = match self.computed(setting) {
                Some((value, how)) => (value, format!("{origin}, {how}")),
                None => (self.given(setting).value, origin.to_string()),
            };
            Effective { setting, value, origin }
        })
    }

    /// What was said about a setting.
    pub(super) fn given(&self, setting: Setting) -> Given {
        let default = || Given { value: Value::Absent(""), origin: Origin::Default };
        self.given.get(&setting).cloned().unwrap_or_else(default)
    }

    /// Where it is read from again.
    pub(crate) fn sources(&self) -> &Sources {
        &self.sources
    }

    pub(super) fn put(&mut self, setting: Setting, given: Given) {
        self.given.insert(setting, given);
    }

    pub(super) fn checked(self) -> Result<Self, Problems> {
        rules::check(&self).or(self)
    }

    /// The settings that follow others while nobody says more about them.
    fn computed(&self, setting: Setting) -> Option<(Value, &'static str)> {
        let given = self.given(setting);
        match (setting, given.value) {
            (Setting::RtMaxCache, Value::Absent(_)) => {
                let room: u32 = self.get(Setting::ClonesPerCpu);
                let three_quarters = room.saturating_mul(3) / 4;
                Some((Value::Count(three_quarters.max(1)), "3/4 of clones_per_cpu"))
            }
            (Setting::RtMinExpire, Value::Duration(least)) if given.origin == Origin::Default => {
                let rtexpire: Duration = self.get(Setting::RtExpire);
                (rtexpire < least).then_some((Value::Duration(rtexpire), "lowered to rtexpire"))
            }
            _ => None,
        }
    }
}

/// The defaults stand in the table as one would type them, and are read like anything else.
fn defaults(wrong: &mut Problems) -> Layer {
    let mut layer = Layer::new();
    for spec in &TABLE {
        match spec.kind.parse(spec.default) {
            Ok(value) => drop(layer.insert(spec.setting, Given { value, origin: Origin::Default })),
            Err(why) => wrong.0.push(Problem::at(spec.name, format!("the default {why}"))),
        }
    }
    layer
}

//! The environment: `ROUTE_CACHE_` and the name of a setting in capitals.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    path::PathBuf,
};

use super::{
    origin::{Given, Layer, Origin},
    problem::{Problem, Problems},
    table::Setting,
};

/// The variable that names the configuration file.
const CONFIG: &str = "ROUTE_CACHE_CONFIG";

/// Variables of the environment.
///
/// One that is empty counts as not set, and one of another name is not ours: an orchestrator that runs a service
/// called `route-cache` makes up `ROUTE_CACHE_SERVICE_HOST` and `ROUTE_CACHE_PORT`.
#[derive(Debug, Default)]
pub(crate) struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// Of this process.
    pub(crate) fn of_this_process() -> Self {
        std::env::vars_os().collect()
    }

    /// The configuration file it names.
    pub(crate) fn config(&self) -> Option<PathBuf> {
        self.get(CONFIG).map(PathBuf::from)
    }

    fn get(&self, variable: &str) -> Option<&OsString> {
        self.0.get(OsStr::new(variable)).filter(|value| !value.is_empty())
    }

    /// The settings it gives, and what is wrong.
    pub(super) fn read(&self) -> (Layer, Problems) {
        let (mut layer, mut problems) = (Layer::new(), Problems::default());
        for setting in Setting::all() {
            match self.setting(setting) {
                Ok(Some(given)) => drop(layer.insert(setting, given)),
                Ok(None) => {}
                Err(problem) => problems.0.push(problem),
            }
        }
        (layer, problems)
    }

    /// What it says about one setting.
    ///
    /// # Errors
    ///
    /// What is wrong with the value.
    pub(super) fn setting(&self, setting: Setting) -> Result<Option<Given>, Problem> {
        let variable = setting.variable();
        let Some(value) = self.get(&variable) else {
            return Ok(None);
        };
        let Some(text) = value.to_str() else {
            return Err(Problem::at(variable, format!("{setting} must be UTF-8")));
        };
        match setting.spec().kind.parse(text) {
            Ok(value) => Ok(Some(Given { value, origin: Origin::Environment(setting) })),
            Err(why) => Err(Problem::at(
                variable,
                format!("{setting} cannot be '{}': {why}", text.escape_debug()),
            )),
        }
    }
}

impl<N: Into<OsString>, V: Into<OsString>> FromIterator<(N, V)> for Environment {
    fn from_iter<T: IntoIterator<Item = (N, V)>>(variables: T) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

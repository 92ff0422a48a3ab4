//! The settings as people give them, and what they are told.

mod example;
mod file;
mod layers;
mod reload;
mod set;
mod table;

use std::path::Path;

use super::{
    Environment, Problems, Settings, Sources,
    file::{ConfigFile, parse},
    origin::{Given, Layer, Origin},
    table::Setting,
};
use crate::control::fake::Place;

/// A machine with a file, an environment and a command line.
struct Machine {
    place: Place,
    environment: Vec<(&'static str, &'static str)>,
    command_line: Layer,
}

impl Machine {
    fn new(file: &str) -> Self {
        let machine =
            Self { place: Place::new(), environment: Vec::new(), command_line: Layer::new() };
        machine.write(file);
        machine
    }

    fn write(&self, file: &str) {
        std::fs::write(self.file().path, file).unwrap();
    }

    fn file(&self) -> ConfigFile {
        ConfigFile { path: self.place.path().join("config.toml"), must_exist: false }
    }

    fn environment(&self) -> Environment {
        self.environment.iter().copied().collect()
    }

    fn option(mut self, setting: Setting, text: &str) -> Self {
        let value = setting.spec().kind.parse(text).unwrap();
        self.command_line.insert(setting, Given { value, origin: Origin::CommandLine });
        self
    }

    fn load(&self) -> Result<Settings, Problems> {
        let sources = Sources { command_line: self.command_line.clone(), file: self.file() };
        Settings::load(sources, &self.environment())
    }

    /// With the file as `FILE`.
    fn refused(&self) -> String {
        self.without_path(&self.load().unwrap_err())
    }

    fn without_path(&self, problems: &Problems) -> String {
        let path = self.file().path.display().to_string();
        let text = problems.to_string().replace(&path, "FILE");
        println!("{text}");
        text
    }
}

/// What is wrong in a file with this text.
fn wrong(text: &[u8]) -> String {
    let wrong = parse(text, Path::new("FILE")).problems.to_string();
    println!("{}\n  {wrong}", String::from_utf8_lossy(text).trim_end().replace('\n', "\n  "));
    wrong
}

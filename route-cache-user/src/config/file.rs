//! The configuration file: TOML, one setting a line, and nothing that is not understood.

use std::{
    fs::File,
    io::{ErrorKind, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use toml::de::DeTable;

use super::{
    nearest,
    origin::{Given, Layer, Origin, Place},
    problem::{Problem, Problems},
    table::Setting,
    toml_value,
};

/// Where the file is looked for if nobody says where.
pub(crate) const STANDARD_PATH: &str = "/etc/route-cache/config.toml";

/// A file larger than this is not one of ours.
const LARGEST: u64 = 1 << 20;

/// Syntax errors shown: one often leads to the next.
const MOST_ERRORS: usize = 5;

/// The file to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfigFile {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Whether it is an error if it is not there: it was asked for, or it was there before.
    pub(crate) must_exist: bool,
}

impl ConfigFile {
    /// The file that somebody named, or else the standard one.
    pub(crate) fn named(path: Option<PathBuf>, standard: &Path) -> Self {
        match path {
            Some(path) => Self { path, must_exist: true },
            None => Self { path: standard.into(), must_exist: false },
        }
    }
}

/// What a file says.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// The settings that are right.
    pub(super) layer: Layer,
    /// What is wrong; then the settings are not for use.
    pub(super) problems: Problems,
    /// Whether there was a file.
    pub(super) found: bool,
}

/// Reads the file.
pub(super) fn read(file: &ConfigFile) -> Content {
    let path = &*file.path;
    match bytes(path) {
        Ok(bytes) => Content { found: true, ..parse(&bytes, path) },
        Err(error) if error.kind() == ErrorKind::NotFound && !file.must_exist => Content::default(),
        Err(error) => {
            let problem = Problem::at(path.display(), format!("cannot be read: {error}"));
            Content { problems: problem.into(), ..Content::default() }
        }
    }
}

fn bytes(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(std::io::Error::other("larger than 1 MiB, which no configuration is"));
    }
    Ok(bytes)
}

/// Reads the text of a file.
pub(super) fn parse(bytes: &[u8], path: &Path) -> Content {
    let places = Places { bytes, path: path.into() };
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let problem = Problem::at(places.of(error.valid_up_to()), "not UTF-8");
            return Content { problems: problem.into(), ..Content::default() };
        }
    };
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Content { problems: broken(text, errors, &places), ..Content::default() };
    }
    settings(table.get_ref(), &places)
}

fn broken(text: &str, mut errors: Vec<toml::de::Error>, places: &Places<'_>) -> Problems {
    errors.sort_by_key(|error| error.span().map(|span| span.start));
    let problems = errors.iter().take(MOST_ERRORS).map(|error| {
        let span = error.span().unwrap_or_default();
        let message = match (error.message(), text.get(span.clone()).unwrap_or_default()) {
            ("duplicate key", name) if !name.is_empty() => {
                format!("{} stands here a second time", name.escape_debug())
            }
            (message, _) => message.to_owned(),
        };
        Problem::at(places.of(span.start), message)
    });
    Problems(problems.collect())
}

fn settings(table: &DeTable<'_>, places: &Places<'_>) -> Content {
    let (mut layer, mut wrong) = (Layer::new(), Vec::new());
    for (key, value) in table {
        let name: &str = key.get_ref();
        let Some(setting) = Setting::all().find(|setting| setting.spec().name == name) else {
            wrong.push((key.span().start, nearest::unknown(name)));
            continue;
        };
        let place = places.of(value.span().start);
        match toml_value::convert(setting.spec().kind, value.get_ref()) {
            Ok(value) => {
                layer.insert(setting, Given { value, origin: Origin::File(place) });
            }
            Err(why) => wrong.push((value.span().start, format!("{setting} {why}"))),
        }
    }
    // As they stand in the file; the table is sorted by name.
    wrong.sort();
    let problems =
        wrong.into_iter().map(|(at, message)| Problem::at(places.of(at), message)).collect();
    Content { layer, problems: Problems(problems), found: true }
}

/// Lines and columns of a text.
struct Places<'a> {
    bytes: &'a [u8],
    path: Arc<Path>,
}

impl Places<'_> {
    fn of(&self, offset: usize) -> Place {
        let before = &self.bytes[..offset.min(self.bytes.len())];
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        Place {
            path: Arc::clone(&self.path),
            line: before.iter().filter(|byte| **byte == b'\n').count() + 1,
            column: String::from_utf8_lossy(&before[line_start..]).chars().count() + 1,
        }
    }
}

//! "Did you mean": the name that was probably meant.

use super::table::TABLE;

/// How alike two names must be, from 0 to 1; clap asks for as much.
const ALIKE: f64 = 0.7;

/// `no setting is called 'rtexpires': did you mean rtexpire?`
pub(super) fn unknown(text: &str) -> String {
    // A name may be as long as the file; one who reads the message needs its beginning.
    let name: String = text.chars().take(64).collect();
    let shown = name.escape_debug();
    match nearest(&name) {
        Some(nearest) => format!("no setting is called '{shown}': did you mean {nearest}?"),
        None => {
            let names: Vec<&str> = TABLE.iter().map(|spec| spec.name).collect();
            format!("no setting is called '{shown}'; there are {}", names.join(", "))
        }
    }
}

fn nearest(text: &str) -> Option<&'static str> {
    let text = text.replace('-', "_").to_ascii_lowercase();
    TABLE
        .iter()
        .map(|spec| (strsim::jaro_winkler(&text, spec.name), spec.name))
        .filter(|(alike, _)| *alike > ALIKE)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, name)| name)
}

//! `route-cache set NAME VALUE`.

use super::{
    nearest,
    problem::Problem,
    table::{Setting, TABLE},
    value::Value,
};

/// Reads a setting and its new value; for [`Settings::set`](super::Settings::set).
///
/// # Errors
///
/// If there is no such setting (with the nearest), if it needs a restart, or what is wrong with the value.
pub(crate) fn parse_setting(name: &str, text: &str) -> Result<(Setting, Value), Problem> {
    let setting = Setting::by_name(name).ok_or_else(|| Problem::new(nearest::unknown(name)))?;
    let spec = setting.spec();
    if !spec.at_run_time {
        let others: Vec<&str> =
            TABLE.iter().filter(|spec| spec.at_run_time).map(|spec| spec.name).collect();
        return Err(Problem::new(format!(
            "{setting} cannot change without a restart; what can: {}",
            others.join(", ")
        )));
    }
    let value = spec.kind.parse(text).map_err(|why| {
        let start: String = text.chars().take(64).collect();
        Problem::new(format!("{setting} cannot be '{}': {why}", start.escape_debug()))
    })?;
    Ok((setting, value))
}

//! From a value of TOML to a value of a setting.

use toml::de::{DeInteger, DeValue};

use super::{
    kind::{Kind, interface},
    value::Value,
};

/// Makes a value of that kind.
///
/// # Errors
///
/// What is wrong, as a sentence without its subject: `cannot be 1.5: expected …`.
pub(super) fn convert(kind: Kind, value: &DeValue<'_>) -> Result<Value, String> {
    let cannot_be = |why: String| format!("cannot be {}: {why}", shown(value));
    match (kind, value) {
        (Kind::Names, DeValue::Array(names)) => {
            let names = names.iter().map(|name| match name.get_ref() {
                DeValue::String(name) => interface(name)
                    .map_err(|why| format!("cannot have '{}' in it: {why}", name.escape_debug())),
                other => Err(format!("cannot have {} in it: {LIST}", shown(other))),
            });
            names.collect::<Result<_, _>>().map(Value::Names)
        }
        (Kind::Names, _) => Err(cannot_be(LIST.into())),
        (Kind::Flag, DeValue::Boolean(flag)) => Ok(Value::Flag(*flag)),
        (Kind::Flag, _) => Err(cannot_be("expected true or false, without quotes".into())),
        (
            Kind::Duration { .. } | Kind::Count { .. } | Kind::Rate { .. } | Kind::Size { .. },
            DeValue::Integer(integer),
        ) => kind.parse(&decimal(integer)).map_err(cannot_be),
        (Kind::Count { or, .. }, DeValue::String(text)) if or != Some(&**text) => {
            let or = or.map(|word| format!(", or \"{word}\"")).unwrap_or_default();
            Err(cannot_be(format!("expected a whole number, without quotes{or}")))
        }
        (Kind::Rate { .. }, DeValue::String(_)) => {
            Err(cannot_be("expected a whole number, without quotes".into()))
        }
        (Kind::Size { .. }, _) => Err(cannot_be("expected a whole number, without quotes".into())),
        // Another kind of value is refused by what the text of it would have to be.
        (_, DeValue::String(text)) => kind.parse(text).map_err(cannot_be),
        (Kind::Duration { .. }, _) => {
            Err(cannot_be("expected seconds, or \"5m\" or \"1h\"".into()))
        }
        (Kind::Count { .. } | Kind::Rate { .. }, _) => {
            Err(cannot_be("expected a whole number".into()))
        }
        (_, _) => Err(cannot_be("expected text in quotes".into())),
    }
}

const LIST: &str = "expected a list of names, such as [\"eth0\", \"vxlan*\"]";

/// What is too large for 128 bits is too large for all settings, and reads the same.
fn decimal(integer: &DeInteger<'_>) -> String {
    i128::from_str_radix(integer.as_str(), integer.radix())
        .map_or_else(|_| integer.as_str().to_owned(), |number| number.to_string())
}

fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => {
            let start: String = text.chars().take(64).collect();
            format!("\"{}\"", start.escape_debug())
        }
        DeValue::Integer(integer) => integer.to_string(),
        DeValue::Float(float) => float.to_string(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(_) => "a list".into(),
        DeValue::Table(_) => "a table".into(),
    }
}

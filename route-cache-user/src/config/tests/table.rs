use proptest::prelude::*;

use super::super::{
    kind::Kind,
    table::{Setting, TABLE},
};

#[test]
fn every_default_is_a_value_and_is_shown_as_it_is_typed() {
    for spec in &TABLE {
        let value =
            spec.kind.parse(spec.default).unwrap_or_else(|why| panic!("{}: {why}", spec.name));
        assert_eq!(value.to_string(), spec.default, "{}", spec.name);
    }
}

#[test]
fn every_setting_has_the_same_name_everywhere_but_for_dashes_capitals_and_the_singular() {
    for spec in &TABLE {
        let plural = if spec.kind == Kind::Names { "s" } else { "" };
        assert_eq!(format!("{}{plural}", spec.option), spec.name.replace('_', "-"));
        assert_eq!(spec.setting.variable(), format!("ROUTE_CACHE_{}", spec.name.to_uppercase()));
        for name in [spec.name, spec.option, &spec.name.replace('_', "-")] {
            assert_eq!(Setting::by_name(name), Some(spec.setting), "{name}");
        }
    }
    for name in ["", "-", "RTEXPIRE", "rt-expire", "rtexpire ", "sweep interval"] {
        assert_eq!(Setting::by_name(name), None, "{name}");
    }
}

#[test]
fn lists_of_names_are_split_at_commas_and_blanks() {
    for (text, shown) in [
        ("eth0,eth1", "eth0 eth1"),
        (" eth0  vxlan* ", "eth0 vxlan*"),
        ("none", "none"),
        ("[n]one", "[n]one"),
    ] {
        assert_eq!(Kind::Names.parse(text).unwrap().to_string(), shown);
    }
    for text in ["", " , ", "a/b", "eth0,sixteen-letters-", "eth["] {
        assert!(Kind::Names.parse(text).is_err(), "{text}");
    }
}

#[test]
fn the_path_of_a_socket_fits_into_the_address_of_one() {
    assert!(Kind::Path.parse(&"x".repeat(107)).is_ok());
    assert!(Kind::Path.parse(&"x".repeat(108)).unwrap_err().contains("107 bytes"));
}

proptest! {
    #[test]
    fn whatever_is_typed_is_a_value_or_an_error_in_one_line(text in ".*", digits in "-?[0-9]{0,30}[smh]?") {
        for text in [&text, &digits] {
            for spec in &TABLE {
                match spec.kind.parse(text) {
                    // What is shown can be typed.
                    Ok(value) => prop_assert_eq!(spec.kind.parse(&value.to_string()), Ok(value)),
                    Err(why) => prop_assert!(!why.is_empty() && !why.contains(char::is_control)),
                }
            }
        }
    }
}

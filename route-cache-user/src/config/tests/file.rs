use proptest::prelude::*;

use super::super::{file::parse, table::TABLE};
use super::{Machine, Path, wrong};

#[test]
fn what_is_wrong_is_told_with_line_column_and_what_would_be_right() {
    for (text, expected) in [
        (
            "rtexpire = 'banana'",
            "FILE:1:12: rtexpire cannot be \"banana\": expected whole seconds, minutes or hours, such as 90, 90s, 5m or 1h",
        ),
        ("\n\n  rtexpire = -1", "FILE:3:14: rtexpire cannot be -1: must not be negative"),
        (
            "rtexpire = 4294967296",
            "FILE:1:12: rtexpire cannot be 4294967296: more than 4294967295 seconds",
        ),
        (
            "rtexpire = 1.5",
            "FILE:1:12: rtexpire cannot be 1.5: expected seconds, or \"5m\" or \"1h\"",
        ),
        (
            "rtexpire = []",
            "FILE:1:12: rtexpire cannot be a list: expected seconds, or \"5m\" or \"1h\"",
        ),
        ("rtminexpire = 0", "FILE:1:15: rtminexpire cannot be 0: must be at least 1s"),
        (
            "sweep_interval = '0s'",
            "FILE:1:18: sweep_interval cannot be \"0s\": must be at least 1s",
        ),
        ("rtexpires = 1", "FILE:1:1: no setting is called 'rtexpires': did you mean rtexpire?"),
        (
            "sweep-interval = 1",
            "FILE:1:1: no setting is called 'sweep-interval': did you mean sweep_interval?",
        ),
        (
            "interface = ['e']",
            "FILE:1:1: no setting is called 'interface': did you mean interfaces?",
        ),
        (
            "[rtexpire]\nx = 1",
            "FILE:1:1: rtexpire cannot be a table: expected seconds, or \"5m\" or \"1h\"",
        ),
        (
            "max_routes = '5'",
            "FILE:1:14: max_routes cannot be \"5\": expected a whole number, without quotes",
        ),
        ("max_routes = 0", "FILE:1:14: max_routes cannot be 0: must be at least 1"),
        (
            "max_routes = 0xffffffffff",
            "FILE:1:14: max_routes cannot be 0xffffffffff: more than 16777216",
        ),
        (
            "rtmaxcache = 'car'",
            "FILE:1:14: rtmaxcache cannot be \"car\": expected a whole number, without quotes, or \"auto\"",
        ),
        (
            "interfaces = 'eth0'",
            "FILE:1:14: interfaces cannot be \"eth0\": expected a list of names, such as [\"eth0\", \"vxlan*\"]",
        ),
        (
            "interfaces = ['a', 1]",
            "FILE:1:14: interfaces cannot have 1 in it: expected a list of names, such as [\"eth0\", \"vxlan*\"]",
        ),
        (
            "interfaces = ['a b']",
            "FILE:1:14: interfaces cannot have 'a b' in it: not the name of an interface",
        ),
        (
            "bypass_netfilter = 'yes'",
            "FILE:1:20: bypass_netfilter cannot be \"yes\": expected true or false, without quotes",
        ),
        (
            "xdp_mode = 'offload'",
            "FILE:1:12: xdp_mode cannot be \"offload\": expected native or skb",
        ),
        ("log_level = 3", "FILE:1:13: log_level cannot be 3: expected text in quotes"),
        (
            "listen_address = ':9477'",
            "FILE:1:18: listen_address cannot be \":9477\": expected IP:PORT, such as 127.0.0.1:9477 or [::1]:9477",
        ),
        ("netns = ''", "FILE:1:9: netns cannot be \"\": expected a namespace"),
        (
            "control_socket = \"a\\u0000\"",
            "FILE:1:18: control_socket cannot be \"a\\0\": expected a path",
        ),
    ] {
        assert_eq!(wrong(text.as_bytes()), expected);
    }
}

#[test]
fn a_name_like_no_other_is_answered_with_all_there_are() {
    let text = wrong(b"zzz = 1");
    assert!(TABLE.iter().all(|spec| text.contains(spec.name)), "{text}");
    assert!(
        wrong(b"\"\\u001b[2J\" = 1").starts_with("FILE:1:1: no setting is called '\\u{1b}[2J'")
    );
    assert!(wrong(format!("{} = 1", "x".repeat(100_000)).as_bytes()).len() < 500);
}

#[test]
fn what_stands_twice_is_refused() {
    for (text, at) in [
        ("rtexpire = 1\nmax_routes = 1\nrtexpire = 2\n", "FILE:3:1: rtexpire "),
        ("[table]\n\n[table]\n", "FILE:3:2: table "),
        ("[a.b]\n[a.b]\n", "FILE:2:4: b "),
    ] {
        let text = wrong(text.as_bytes());
        assert!(text.starts_with(at) && text.contains("a second time"), "{text}");
    }
}

#[test]
fn broken_toml_is_refused_where_it_breaks() {
    for (text, at) in [
        (&b"rtexpire ="[..], "FILE:1:1"),
        (b"rtexpire = 1\nbanana\n", "FILE:2:"),
        (b"rtexpire = 5m", "FILE:1:12"),
        (b"max_routes = 1\n# \xff", "FILE:2:3: not UTF-8"),
        ("# Grüße\nnetns = 'ü' x".as_bytes(), "FILE:2:13"),
    ] {
        assert!(wrong(text).starts_with(at));
    }
    let two = wrong(b"a = \nb = \"\n");
    assert!(two.lines().map(|line| &line[..7]).eq(["FILE:1:", "FILE:2:"]), "{two}");
    let deep = "a=".to_owned() + &"[".repeat(100_000);
    assert!(parse(deep.as_bytes(), Path::new("FILE")).layer.is_empty());
}

#[test]
fn everything_that_is_wrong_is_told_at_once_in_the_order_of_the_file() {
    let machine =
        Machine::new("sweep_interval = 0\nlisten_address = 1\nrtexpire = 5\nbanana = 1\n");
    let text = machine.refused();
    let places: Vec<_> = text.lines().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(places, ["FILE:1:18", "FILE:2:18", "FILE:4:1"]);
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_unless_it_is_only_not_there() {
    let mut machine = Machine::new("");
    std::fs::remove_file(machine.file().path).unwrap();
    assert!(!machine.load().unwrap().sources().file.must_exist);
    std::fs::create_dir(machine.file().path).unwrap();
    assert!(machine.refused().starts_with("FILE: cannot be read: "));
    machine = Machine::new(&"#".repeat((1 << 20) + 1));
    assert_eq!(
        machine.refused(),
        "FILE: cannot be read: larger than 1 MiB, which no configuration is"
    );
}

proptest! {
    #[test]
    fn no_file_whatever_is_in_it_does_more_than_be_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        lines in prop::collection::vec((0..TABLE.len(), "[=.\\[]", "[-0-9a-z\"'\\[\\]{},.= ]{0,12}"), 0..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let lines: Vec<_> = lines
            .into_iter()
            .map(|(index, sign, value)| format!("{}{sign}{value}", TABLE[index].name))
            .collect();
        let example = include_bytes!("../../../../deploy/config.toml");
        let uncommented = String::from_utf8_lossy(example).replace("\n#", "\n").into_bytes();
        let cut = &uncommented[..cut.index(uncommented.len())];
        for text in [&bytes, lines.join("\n").as_bytes(), cut] {
            let content = parse(text, Path::new("FILE"));
            for problem in content.problems.0 {
                let problem = problem.to_string();
                prop_assert!(problem.starts_with("FILE:"), "{}", problem);
                let numbers = problem.split(':').skip(1).take(2).map(|number| number.parse::<usize>());
                prop_assert!(numbers.flatten().filter(|number| *number > 0).count() == 2, "{}", problem);
            }
        }
    }
}

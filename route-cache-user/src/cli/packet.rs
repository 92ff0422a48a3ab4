//! The words of `get`, as `ip route get` takes them.

use std::{fmt::Display, net::IpAddr, str::FromStr};

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, error::ErrorKind};

use crate::control::Packet;

/// Name of the argument.
const WORDS: &str = "packet";

/// `ADDR [from ADDR] [iif NAME]`, in any order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PacketWords(pub(super) Packet);

impl Args for PacketWords {
    fn augment_args(command: Command) -> Command {
        let words = Arg::new(WORDS)
            .value_names(["ADDR", "from ADDR", "iif NAME"])
            .num_args(1..)
            .required(true)
            .help("Destination; source; interface the packet comes in by");
        command.override_usage("route-cache get ADDR [from ADDR] [iif NAME] [--json]").arg(words)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for PacketWords {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let words = matches.get_many::<String>(WORDS).into_iter().flatten();
        let packet = parse(words.map(String::as_str));
        packet.map(Self).map_err(|error| clap::Error::raw(ErrorKind::ValueValidation, error))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn parse<'a>(mut words: impl Iterator<Item = &'a str>) -> Result<Packet, String> {
    let (mut dst, mut from, mut iif) = (None, None, None);
    while let Some(word) = words.next() {
        match word {
            "to" => once(&mut dst, "to", words.next())?,
            "from" => once(&mut from, "from", words.next())?,
            "iif" => once::<String>(&mut iif, "iif", words.next())?,
            _ if word.parse::<IpAddr>().is_ok() => once(&mut dst, "to", Some(word))?,
            _ => {
                return Err(format!(
                    "'{word}' is not understood: expected ADDR [from ADDR] [iif NAME]"
                ));
            }
        }
    }
    let dst = dst.ok_or("no destination is given: expected ADDR [from ADDR] [iif NAME]")?;
    Packet::new(dst, from, iif.as_deref()).map_err(|error| error.to_string())
}

fn once<T: FromStr<Err: Display>>(
    place: &mut Option<T>,
    what: &str,
    value: Option<&str>,
) -> Result<(), String> {
    let value = value.ok_or_else(|| format!("'{what}' wants a value"))?;
    let parsed = value.parse().map_err(|error| format!("'{what}' cannot be '{value}': {error}"))?;
    match place.replace(parsed) {
        None => Ok(()),
        Some(_) => Err(format!("'{what}' is given twice")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Result<Packet, String> {
        parse(line.split_whitespace())
    }

    #[test]
    fn the_words_come_in_any_order_and_as_ip_takes_them() {
        let whole = Packet {
            dst: "192.0.2.1".parse().unwrap(),
            from: Some("10.0.1.2".parse().unwrap()),
            iif: Some("left".to_owned()),
        };
        for line in [
            "192.0.2.1 from 10.0.1.2 iif left",
            "to 192.0.2.1 iif left from 10.0.1.2",
            "from 10.0.1.2 iif left to 192.0.2.1",
        ] {
            assert_eq!(words(line), Ok(whole.clone()), "{line}");
        }
        let six = words("2001:db8::1 iif from").unwrap();
        assert_eq!((six.from, six.iif.as_deref()), (None, Some("from")));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, wrong) in [
            ("", "no destination"),
            ("from 10.0.1.2", "no destination"),
            ("banana", "'banana' is not understood"),
            ("192.0.2.1 oif left", "'oif' is not understood"),
            ("192.0.2.1 from", "'from' wants a value"),
            ("192.0.2.1 from nowhere", "'from' cannot be 'nowhere'"),
            ("192.0.2.1 192.0.2.2", "'to' is given twice"),
            ("192.0.2.1 iif a iif b", "'iif' is given twice"),
            ("192.0.2.1 iif a/b", "'a/b' cannot be the name of an interface"),
            ("192.0.2.1 from 2001:db8::1", "one family"),
        ] {
            let error = words(line).expect_err(line);
            assert!(error.contains(wrong), "{line}: {error}");
        }
    }
}

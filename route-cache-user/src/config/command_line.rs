//! The command line: an option for each row of the table.

use clap::{
    Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, builder::ValueParser,
    parser::ValueSource,
};

use super::{
    kind::Kind,
    origin::{Given, Layer, Origin},
    table::{Setting, Spec, TABLE},
    value::Value,
};

/// What the options say.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options(pub(crate) Layer);

impl Args for Options {
    fn augment_args(command: Command) -> Command {
        command.args(TABLE.iter().map(argument))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Options {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut options = Self::default();
        options.update_from_arg_matches(matches)?;
        Ok(options)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for spec in &TABLE {
            if matches.value_source(spec.name) != Some(ValueSource::CommandLine) {
                continue;
            }
            let values = matches.get_many::<Value>(spec.name).into_iter().flatten().cloned();
            if let Some(value) = values.reduce(join) {
                self.0.insert(spec.setting, Given { value, origin: Origin::CommandLine });
            }
        }
        Ok(())
    }
}

fn argument(spec: &'static Spec) -> Arg {
    let parse = move |text: &str| spec.kind.parse(text);
    let argument = Arg::new(spec.name)
        .long(spec.option)
        .value_name(spec.value_name)
        .value_parser(ValueParser::new(parse))
        .help(help(spec));
    let argument = match spec.kind {
        Kind::Names => argument.action(ArgAction::Append),
        Kind::Flag => argument.num_args(0..=1).require_equals(true).default_missing_value("true"),
        // So that -5 is a wrong value, and not an option that nobody knows.
        Kind::Duration { .. } | Kind::Count { .. } | Kind::Rate { .. } | Kind::Size { .. } => {
            argument.allow_negative_numbers(true)
        }
        _ => argument,
    };
    match spec.setting {
        Setting::Interfaces => argument.short('i').help_heading(HEADING),
        Setting::TracePackets => argument
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("1000")
            .help_heading(HEADING),
        // Every client command takes it as well.
        Setting::ControlSocket => argument.global(true),
        _ => argument.help_heading(HEADING),
    }
}

const HEADING: &str = "Agent options";

fn help(spec: &Spec) -> String {
    match spec.default {
        "none" | "self" | "false" => spec.help.to_owned(),
        default => format!("{} [default: {default}]", spec.help),
    }
}

/// Lists add up; of all else there is one.
fn join(first: Value, second: Value) -> Value {
    match (first, second) {
        (Value::Names(mut names), Value::Names(more)) => {
            names.extend(more);
            Value::Names(names)
        }
        (_, second) => second,
    }
}

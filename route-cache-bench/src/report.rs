//! The results: for people, and as JSON.

use std::fmt::Write as _;

use anyhow::Result;
use comfy_table::{CellAlignment, Table, presets::NOTHING};
use serde::Serialize;

use crate::{
    contender::{self, Contender},
    machine::Machine,
    measure::{Effort, Measured},
    scenario::Scenario,
    start::Start,
    statistics::{median, minimum, ratio, spread},
    targets::{self, Judged},
};

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) effort: Effort,
    contenders: Vec<Contender>,
    pub(crate) absent: Vec<(&'static str, String)>,
    pub(crate) targets: Vec<Judged>,
    /// Of agents with a full table.
    pub(crate) starts: Vec<Start>,
    pub(crate) results: Vec<Results>,
}

/// Of one scenario.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    /// Which.
    pub(crate) scenario: Scenario,
    /// By contender.
    pub(crate) measured: Vec<Measured>,
}

impl Report {
    /// Of nothing yet.
    pub(crate) fn new(effort: Effort) -> Result<Self> {
        Ok(Self {
            machine: Machine::read()?,
            effort,
            contenders: contender::ALL.to_vec(),
            absent: contender::absent(),
            targets: Vec::new(),
            starts: Vec::new(),
            results: Vec::new(),
        })
    }

    /// Takes in a scenario and gives its table.
    pub(crate) fn add(&mut self, scenario: Scenario, measured: Vec<Measured>) -> String {
        let results = Results { scenario, measured };
        let text = results.table();
        self.results.push(results);
        self.targets = targets::judge(&self.results, &self.starts);
        text
    }

    /// Takes in starts of the agent and says how they went.
    pub(crate) fn add_starts<const N: usize>(&mut self, starts: [Start; N]) -> String {
        self.starts.extend(starts);
        self.targets = targets::judge(&self.results, &self.starts);
        self.starts.iter().map(Start::to_string).collect::<Vec<_>>().join("\n")
    }

    /// What is to be said at the end.
    pub(crate) fn summary(&self) -> String {
        let mut text = self.targets();
        for (name, why) in &self.absent {
            // Writing to a string does not fail.
            let _ = writeln!(text, "not measured: {name}: {why}");
        }
        let machine = &self.machine;
        let _ = write!(
            text,
            "{}, {} CPUs, Linux {}, load {}, {}; {} rounds of {} ms, seed {}",
            machine.cpu,
            machine.cpus,
            machine.kernel,
            machine.load,
            machine.date,
            self.effort.rounds,
            self.effort.slot_ms,
            self.effort.seed
        );
        text
    }

    fn targets(&self) -> String {
        if self.targets.is_empty() {
            return String::new();
        }
        let mut table = Table::new();
        table.load_style(NOTHING).set_header(["", "", "measured", "must", "aim", ""]);
        for judged in &self.targets {
            let Judged { id, what, measured, must, aim, mark } = judged;
            let (measured, mark) = (format!("{measured:.3}"), mark.to_string());
            table.add_row([*id, *what, &measured, must.as_str(), aim.as_str(), &mark]);
        }
        format!("{table}\n")
    }

    /// As JSON.
    pub(crate) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

impl Results {
    /// What was measured of a contender.
    pub(crate) fn of(&self, contender: &str) -> Option<&Measured> {
        self.measured.iter().find(|measured| measured.contender == contender)
    }

    fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(NOTHING).set_header([
            self.scenario.name,
            "ns, median",
            "minimum",
            "spread",
            "Mpps",
            "to the floor",
            "hits",
        ]);
        for measured in &self.measured {
            let to_floor =
                self.of("floor").map_or(f64::NAN, |floor| ratio(&measured.ns, &floor.ns));
            table.add_row([
                measured.contender.to_owned(),
                format!("{:.0}", median(&measured.ns)),
                format!("{:.0}", minimum(&measured.ns)),
                format!("±{:.0} %", spread(&measured.ns) * 100.0),
                format!("{:.2}", median(&measured.mpps)),
                format!("{to_floor:.2}"),
                measured.hit_rate.map_or_else(String::new, |rate| format!("{:.1} %", rate * 100.0)),
            ]);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        format!("{}\n{table}\n", self.scenario.title())
    }
}

//! What is told: a table, JSON, and the document made of the JSON of one or more kernels.

use std::{collections::BTreeMap, fmt::Write, fs, path::PathBuf};

use anyhow::{Context, Result};
use comfy_table::{Table, presets::UTF8_HORIZONTAL_ONLY};
use serde_json::{Value, json};

use crate::{
    cases::{ELSEWHERE, ROWS},
    run::{Ending, Verdict},
};

/// The version of the running kernel, without what its builder put behind.
pub fn kernel() -> Result<String> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")
        .context("cannot read the kernel's release")?;
    let version: String = release.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    Ok(version)
}

/// The table for people.
pub fn table(verdicts: &[Verdict], kernel: &str) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY);
    table.set_header(["row", "case", "family", "kernel", "accelerated", "result", "outcomes"]);
    for verdict in verdicts {
        let accelerated = if verdict.is_accelerated() { "yes" } else { "no" };
        table.add_row([
            verdict.case.row,
            verdict.case.name,
            verdict.case.family.name(),
            kernel,
            accelerated,
            word(&verdict.ending),
            &outcomes(verdict).join(", "),
        ]);
    }
    table.to_string()
}

/// What is wrong, what is not here, and the sums; and whether nothing is wrong.
pub fn sums(verdicts: &[Verdict]) -> (String, bool) {
    let mut text = String::new();
    let mut sums = BTreeMap::new();
    for verdict in verdicts {
        *sums.entry(word(&verdict.ending)).or_insert(0) += 1;
        let case = verdict.case;
        let mut tell = |lines: &[String]| {
            let (row, name, family) = (case.row, case.name, case.family.name());
            let word = word(&verdict.ending);
            for line in lines {
                let _ = writeln!(text, "{word}: row {row}, {name} ({family}): {line}");
            }
        };
        match &verdict.ending {
            Ending::Equal => {}
            Ending::Allowed(allowance) => tell(&[allowance.reason().to_owned()]),
            Ending::Different(wrong) => tell(wrong),
            Ending::NotHere(reason) => tell(std::slice::from_ref(reason)),
        }
    }
    let accelerated = verdicts.iter().filter(|verdict| verdict.is_accelerated()).count();
    let _ = write!(text, "{} cases, {accelerated} forwarded by XDP", verdicts.len());
    for (word, count) in &sums {
        let _ = write!(text, "; {word}: {count}");
    }
    (text, !sums.contains_key("DIFFERENT"))
}

/// The results for programs.
pub fn json(verdicts: &[Verdict], kernel: &str) -> String {
    let rows: Vec<Value> = verdicts
        .iter()
        .map(|verdict| {
            let details = match &verdict.ending {
                Ending::Equal => Vec::new(),
                Ending::Allowed(allowance) => vec![allowance.reason().to_owned()],
                Ending::Different(wrong) => wrong.clone(),
                Ending::NotHere(reason) => vec![reason.clone()],
            };
            json!({
                "row": verdict.case.row,
                "case": verdict.case.name,
                "family": verdict.case.family.name(),
                "accelerated": verdict.is_accelerated(),
                "result": word(&verdict.ending),
                "outcomes": outcomes(verdict),
                "details": details,
            })
        })
        .collect();
    format!("{:#}\n", json!({ "kernel": kernel, "cases": rows }))
}

const fn word(ending: &Ending) -> &'static str {
    match ending {
        Ending::Equal => "equal",
        Ending::Allowed(_) => "allowed",
        Ending::Different(_) => "DIFFERENT",
        Ending::NotHere(_) => "not here",
    }
}

/// The names of the outcomes, in the order of the rounds, each once.
fn outcomes(verdict: &Verdict) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in verdict.outcomes.iter().flat_map(|round| round.keys()) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

/// `docs/conformance.md`, from the results of one or more kernels.
pub fn document(paths: &[PathBuf]) -> Result<String> {
    let mut runs = Vec::new();
    for path in paths {
        let read = || -> Result<Value> { Ok(serde_json::from_str(&fs::read_to_string(path)?)?) };
        runs.push(read().with_context(|| format!("cannot read {}", path.display()))?);
    }
    let mut text = String::from(INTRODUCTION);
    let kernels: Vec<_> = runs.iter().map(|run| text_of(&run["kernel"])).collect();
    let _ = writeln!(text, "\n| row | case | family | {} |", kernels.join(" | "));
    let _ = writeln!(text, "|---|---|---|{}", "---|".repeat(kernels.len()));
    let cases = runs.first().and_then(|run| run["cases"].as_array()).cloned().unwrap_or_default();
    let mut reasons = BTreeMap::new();
    for case in &cases {
        let (row, name, family) =
            (text_of(&case["row"]), text_of(&case["case"]), text_of(&case["family"]));
        let _ = write!(text, "| {row} | {name} | {family} |");
        for run in &runs {
            let is_this = |other: &&Value| {
                ["row", "case", "family"].iter().all(|key| other[key] == case[key])
            };
            let found = run["cases"].as_array().and_then(|all| all.iter().find(is_this));
            let cell = found.map_or_else(|| "–".to_owned(), |found| cell(found, &mut reasons));
            let _ = write!(text, " {cell} |");
        }
        text.push('\n');
    }
    text.push_str("\nWhere a case is not there or differs:\n\n");
    for (reason, number) in by_number(&reasons) {
        let _ = writeln!(text, "{number}. {reason}");
    }
    text.push_str("\nRows that no frame sent twice can show:\n\n");
    for (row, held) in ELSEWHERE {
        let about = ROWS.iter().find(|(number, _)| *number == row).map_or("", |(_, about)| about);
        let _ = writeln!(text, "- {row}, {about}: {held}");
    }
    Ok(text)
}

const INTRODUCTION: &str = "\
# Conformance

The same frames through the same router, without and with Route Cache, captured at every host and compared byte for byte,
ICMP answers included; and the kernel's counters, which what passes must move alike and what XDP forwards must not move at
all. `cargo xtask conformance` runs it on the kernel that runs, `cargo xtask conformance --kernel 6.12` in a virtual
machine; with `--document` this file is made anew. `-- --tiers clones|routes|index` has flows switched off, clones as well,
or the index on. `cargo xtask test` goes through all four. The cases are in `route-cache-conformance/src/cases`.

A cell says how the packets ended: forwarded by XDP (by the route at first, then by the clone, then by the flow, each of
them compared: `forwarded`), or passed to the kernel, by the name of the outcome. Everything that is not marked arrived as it does without the cache.

6.1 is the oldest kernel that was tried. Before Linux 6.3 no kernel tells which interfaces take redirected frames
(`xdp-features`): there the agent finds out by probe frames.
";

fn cell(case: &Value, reasons: &mut BTreeMap<String, usize>) -> String {
    let mut names: Vec<String> =
        case["outcomes"].as_array().into_iter().flatten().map(text_of).collect();
    names.iter_mut().filter(|name| name.starts_with("forwarded")).for_each(|name| {
        "forwarded".clone_into(name);
    });
    names.dedup();
    let result = text_of(&case["result"]);
    let mut cell = if result == "not here" { "not here".to_owned() } else { names.join(", ") };
    if result == "DIFFERENT" {
        cell = format!("**differs** {cell}");
    }
    for detail in case["details"].as_array().into_iter().flatten().map(text_of) {
        let next = reasons.len() + 1;
        let _ = write!(cell, " ({})", reasons.entry(detail).or_insert(next));
    }
    cell
}

fn by_number(reasons: &BTreeMap<String, usize>) -> Vec<(&String, &usize)> {
    let mut reasons: Vec<_> = reasons.iter().collect();
    reasons.sort_by_key(|(_, number)| **number);
    reasons
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

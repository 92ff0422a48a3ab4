//! The results in the documentation.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context, Result};

use crate::{
    plot,
    report::{Report, Results},
    statistics::{median, minimum, ratio, spread},
};

const BEGIN: &str = "<!-- results: written by `cargo xtask bench --write-docs` -->";
const END: &str = "<!-- end of the results -->";

/// File, title and scenarios of each picture.
const PLOTS: [(&str, &str, &[&str]); 3] = [
    ("destinations.svg", "ns for a packet, full table", &["full/1k", "full/10k", "full/64k"]),
    ("zipf.svg", "ns for a packet, full table", &["full/zipf0.8", "full/zipf1.0", "full/zipf1.2"]),
    ("flood.svg", "ns for a packet, full table", &["full/mixed", "full/flood"]),
];

/// Writes `performance.md` (between its marks), `bench/bench.json` and the pictures.
pub(crate) fn write(directory: &Path, report: &Report) -> Result<()> {
    let page = directory.join("performance.md");
    let text =
        fs::read_to_string(&page).with_context(|| format!("cannot read {}", page.display()))?;
    let text = with_results(&text, &section(report))
        .with_context(|| format!("{} has no \"{BEGIN}\" and \"{END}\"", page.display()))?;
    put(&page, &text)?;
    let bench = directory.join("bench");
    put(&bench.join("bench.json"), &report.json()?)?;
    for (file, title, scenarios) in PLOTS {
        if let Some(svg) = plot::bars(title, scenarios, &report.results) {
            put(&bench.join(file), &svg)?;
        }
    }
    Ok(())
}

fn put(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    eprintln!("bench: wrote {}", path.display());
    Ok(())
}

fn with_results(page: &str, section: &str) -> Option<String> {
    let (head, rest) = page.split_once(BEGIN)?;
    let (_, tail) = rest.split_once(END)?;
    Some(format!("{head}{BEGIN}\n\n{section}\n{END}{tail}"))
}

// Writing to a string does not fail.
fn section(report: &Report) -> String {
    let mut text = String::new();
    let machine = &report.machine;
    let _ = writeln!(
        text,
        "{}, {} CPUs, Linux {}, JIT {}; {}; {} rounds of {} ms, seed {}; load at the start {}. Mitigations:\n",
        machine.cpu,
        machine.cpus,
        machine.kernel,
        machine.jit,
        machine.date,
        report.effort.rounds,
        report.effort.slot_ms,
        report.effort.seed,
        machine.load
    );
    for (fault, state) in &machine.mitigations {
        let _ = writeln!(text, "- {fault}: {state}");
    }
    if !report.targets.is_empty() {
        text += "\n| # | ratio | measured | must | aim | |\n|---|---|---|---|---|---|\n";
        for judged in &report.targets {
            let _ = writeln!(
                text,
                "| {} | {} | {:.2} | {} | {} | {} |",
                judged.id, judged.what, judged.measured, judged.must, judged.aim, judged.mark
            );
        }
    }
    for start in &report.starts {
        let _ = writeln!(text, "\n- {start}");
    }
    text += "\nNanoseconds for a packet on one CPU:\n";
    for results in &report.results {
        table(&mut text, results);
    }
    for (name, why) in &report.absent {
        let _ = writeln!(text, "\nNot measured: {name}: {why}.");
    }
    for (file, title, scenarios) in PLOTS {
        if scenarios.iter().any(|name| report.results.iter().any(|r| r.scenario.name == *name)) {
            let _ = writeln!(text, "\n![{title}](bench/{file})");
        }
    }
    text
}

fn table(text: &mut String, results: &Results) {
    let _ = writeln!(text, "\n{} (`{}`):\n", results.scenario.title(), results.scenario.name);
    *text += "| | median | minimum | spread | Mpps | to the floor | hits |\n|---|---|---|---|---|---|---|\n";
    for measured in &results.measured {
        let to_floor = results.of("floor").map_or(f64::NAN, |floor| ratio(&measured.ns, &floor.ns));
        let hits =
            measured.hit_rate.map_or_else(String::new, |rate| format!("{:.1} %", rate * 100.0));
        let _ = writeln!(
            text,
            "| {} | {:.0} | {:.0} | ±{:.0} % | {:.2} | {to_floor:.2} | {hits} |",
            measured.contender,
            median(&measured.ns),
            minimum(&measured.ns),
            spread(&measured.ns) * 100.0,
            median(&measured.mpps),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let page = format!("head\n{BEGIN}\nold\n{END}\ntail\n");
        let wanted = format!("head\n{BEGIN}\n\nnew\n\n{END}\ntail\n");
        assert_eq!(with_results(&page, "new\n"), Some(wanted));
        assert_eq!(with_results("no marks", "new"), None);
    }

    #[test]
    fn the_page_has_the_marks() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/performance.md");
        let page = fs::read_to_string(page).unwrap();
        assert!(with_results(&page, "").is_some());
    }
}

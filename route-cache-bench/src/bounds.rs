//! The check of every day: what the hit costs must not grow unnoticed.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::{report::Results, statistics::ratio};

/// What the check says. `Err` if a ratio is beyond its bound, or if nothing was measured that has one.
pub(crate) fn check(file: &Path, results: &[Results]) -> Result<String> {
    let text =
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let table: Value =
        serde_json::from_str(&text).with_context(|| format!("{} is no JSON", file.display()))?;
    let bounds = table["to_floor"].as_object();
    let bounds = bounds.with_context(|| format!("{} has no \"to_floor\"", file.display()))?;
    let mut lines = Vec::new();
    let mut beyond = Vec::new();
    for results in results {
        let name = results.scenario.name;
        let (Some(bound), Some(cache), Some(floor)) =
            (bounds.get(name), results.of("cache"), results.of("floor"))
        else {
            continue;
        };
        let bound = bound.as_f64().with_context(|| format!("the bound of {name} is no number"))?;
        let measured = ratio(&cache.ns, &floor.ns);
        let line = format!("{name}: {measured:.2} times the floor, bound {bound:.2}");
        // A ratio that is not a number is not within the bound.
        if measured <= bound { lines.push(line) } else { beyond.push(line) }
    }
    ensure!(
        !lines.is_empty() || !beyond.is_empty(),
        "nothing was measured that {} has a bound for",
        file.display()
    );
    if !beyond.is_empty() {
        bail!(
            "slower than {} allows: {}; if that is meant, raise the bound there",
            file.display(),
            beyond.join("; ")
        );
    }
    Ok(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{measure::Measured, scenario};

    fn results(cache: f64) -> Vec<Results> {
        let measured = |contender, ns: f64| Measured {
            contender,
            ns: vec![ns; 3],
            mpps: vec![1e3 / ns; 3],
            hit_rate: None,
        };
        let measured = vec![measured("floor", 100.0), measured("cache", cache)];
        vec![Results { scenario: scenario::QUICK[0], measured }]
    }

    fn file() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/bench/bounds.json")
    }

    #[test]
    fn slower_than_the_bound_fails_and_faster_does_not() {
        assert!(check(&file(), &results(101.0)).is_ok());
        let error = check(&file(), &results(1000.0)).unwrap_err().to_string();
        assert!(error.contains("1k/1k: 10.00 times the floor"), "{error}");
        assert!(check(&file(), &results(f64::NAN)).is_err());
        assert!(check(&file(), &[]).is_err(), "a check that measured nothing");
    }

    #[test]
    fn every_quick_scenario_has_a_bound() {
        let text = fs::read_to_string(file()).unwrap();
        let table: Value = serde_json::from_str(&text).unwrap();
        for scenario in scenario::QUICK {
            assert!(table["to_floor"][scenario.name].is_f64(), "{}", scenario.name);
        }
    }
}

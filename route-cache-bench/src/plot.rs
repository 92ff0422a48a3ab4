//! Bars, as SVG.

use std::fmt::Write as _;

use crate::{report::Results, statistics::median};

const LEFT: f64 = 110.0;
const WIDTH: f64 = 720.0;
const BAR: f64 = 15.0;
const GAP: f64 = 34.0;

/// Nanoseconds for a packet: a group of bars for each scenario. Nothing if none of them was measured.
pub(crate) fn bars(title: &str, names: &[&str], results: &[Results]) -> Option<String> {
    let groups: Vec<&Results> =
        names.iter().filter_map(|name| results.iter().find(|r| r.scenario.name == *name)).collect();
    let medians = groups.iter().flat_map(|group| &group.measured).map(|m| median(&m.ns));
    let most = medians.fold(0.0, f64::max);
    if most <= 0.0 {
        return None;
    }
    let scale = (WIDTH - LEFT - 60.0) / most;
    let (mut body, mut y) = (String::new(), 40.0);
    text(&mut body, 10.0, 22.0, "start", "bold", title);
    for group in groups {
        text(&mut body, 10.0, y + 12.0, "start", "bold", &group.scenario.title());
        y += 20.0;
        for measured in &group.measured {
            let ns = median(&measured.ns);
            let colour = colour(measured.contender);
            text(&mut body, LEFT - 6.0, y + 11.0, "end", "normal", measured.contender);
            // Writing to a string does not fail.
            let _ = writeln!(
                body,
                r#"<rect x="{LEFT}" y="{y}" width="{:.1}" height="{}" fill="{colour}"/>"#,
                ns * scale,
                BAR - 3.0
            );
            text(
                &mut body,
                LEFT + ns * scale + 4.0,
                y + 11.0,
                "start",
                "normal",
                &format!("{ns:.0}"),
            );
            y += BAR;
        }
        y += GAP - 20.0;
    }
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y}\" width=\"{WIDTH}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{body}</svg>\n"
    ))
}

fn text(body: &mut String, x: f64, y: f64, anchor: &str, weight: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        body,
        r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" font-weight="{weight}">{words}</text>"#
    );
}

/// The product stands out, the floor stands back.
fn colour(contender: &str) -> &'static str {
    match contender {
        "floor" => "#bbbbbb",
        "cache" => "#1b7837",
        "cache off" => "#7fbf7b",
        _ => "#6a7fa8",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{measure::Measured, scenario};

    #[test]
    fn a_bar_for_each_contender_as_long_as_its_time() {
        let measured =
            |contender, ns| Measured { contender, ns: vec![ns], mpps: vec![], hit_rate: None };
        let measured = vec![measured("floor", 100.0), measured("cache", 200.0)];
        let results = [Results { scenario: scenario::QUICK[0], measured }];
        let svg = bars("Title", &["1k/1k", "absent"], &results).unwrap();
        assert_eq!(svg.matches("<rect x=").count(), 2);
        assert!(svg.contains("width=\"275.0\"") && svg.contains("width=\"550.0\""), "{svg}");
        assert_eq!(bars("Title", &["absent"], &results), None);
    }
}

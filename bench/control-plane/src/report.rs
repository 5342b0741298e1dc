//! What was measured, as a file for programs and a table for people.
//!
//! A run of some groups replaces their rows and leaves the others as they were.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use serde_json::{Value, json};

/// One figure.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    pub(crate) value: f64,
    pub(crate) target: Target,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
    /// For comparison only.
    None,
}

impl Row {
    pub(crate) fn new(name: impl Into<String>, unit: &'static str, value: f64, target: Target) -> Self {
        Self { name: name.into(), unit, value, target }
    }

    /// `None`: there is nothing to meet.
    fn met(&self) -> Option<bool> {
        match self.target {
            Target::AtLeast(least) => Some(self.value >= least),
            Target::AtMost(most) => Some(self.value <= most),
            Target::None => None,
        }
    }

    fn json(&self) -> Value {
        let target = match self.target {
            Target::AtLeast(bound) | Target::AtMost(bound) => Some(bound),
            Target::None => None,
        };
        let value = (self.value * 1_000.0).round() / 1_000.0;
        json!({"name": self.name, "unit": self.unit, "value": value, "target": target, "met": self.met()})
    }

    pub(crate) fn line(&self) -> String {
        line(&self.json())
    }
}

/// All rows, by name, in the order in which they were first measured.
#[derive(Debug)]
pub(crate) struct Report(Vec<Value>);

impl Report {
    /// What earlier runs found; empty if there were none.
    pub(crate) fn read(path: &Path) -> Self {
        let text = std::fs::read(path).unwrap_or_default();
        Self(serde_json::from_slice(&text).unwrap_or_default())
    }

    pub(crate) fn replace(&mut self, rows: &[Row]) {
        for row in rows.iter().map(Row::json) {
            match self.0.iter_mut().find(|old| old["name"] == row["name"]) {
                Some(old) => *old = row,
                None => self.0.push(row),
            }
        }
    }

    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let lines: Vec<String> = self.0.iter().map(|row| format!("  {row}")).collect();
        let text = format!("[\n{}\n]\n", lines.join(",\n"));
        std::fs::write(path, text).with_context(|| format!("{} can't be written", path.display()))
    }

    /// For `bench/README.md`.
    pub(crate) fn table(&self) -> String {
        let mut text = "| figure | value | target | met |\n| --- | ---: | ---: | --- |\n".to_owned();
        for row in &self.0 {
            let _ = writeln!(text, "{}", line(row));
        }
        text
    }
}

fn line(row: &Value) -> String {
    let (name, unit) = (row["name"].as_str().unwrap_or_default(), row["unit"].as_str().unwrap_or_default());
    let target = row["target"].as_f64().map(number).unwrap_or_default();
    let met = match row["met"].as_bool() {
        Some(true) => "yes",
        Some(false) => "**no**",
        None => "",
    };
    format!("| {name} | {} {unit} | {target} | {met} |", row["value"].as_f64().map(number).unwrap_or_default())
}

fn number(value: f64) -> String {
    if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_says_whether_it_meets_its_target() {
        let row = |value, target| Row::new("x", "ms", value, target).json();
        assert_eq!(row(5.0, Target::AtMost(5.0))["met"], true);
        assert_eq!(row(5.1, Target::AtMost(5.0))["met"], false);
        assert_eq!(row(5.0, Target::AtLeast(5.1))["met"], false);
        assert_eq!(row(5.0, Target::None)["met"], Value::Null);
    }

    #[test]
    fn a_run_of_some_rows_leaves_the_others() {
        let row = |name: &str, value| Row::new(name, "ms", value, Target::None);
        let mut report = Report(Vec::new());
        report.replace(&[row("a", 1.0), row("b", 2.0)]);
        report.replace(&[row("a", 3.0)]);
        assert_eq!((&report.0[0]["value"], &report.0[1]["value"]), (&json!(3.0), &json!(2.0)));
    }
}

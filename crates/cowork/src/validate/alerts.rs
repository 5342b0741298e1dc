//! Alerts of Prometheus: that each expression parses, asks for metrics that exist, and leads to a runbook.

use std::path::Path;

use promql_parser::parser::{Expr, parse};
use promql_parser::util::{ExprVisitor, walk_expr};
use serde::Deserialize;

use super::{Findings, Text, program};

/// A file of rules, as far as it matters here.
#[derive(Debug, Deserialize)]
pub(crate) struct Rules {
    groups: Vec<Group>,
}

#[derive(Debug, Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
struct Rule {
    alert: Option<String>,
    expr: String,
    #[serde(default)]
    labels: Labels,
    #[serde(default)]
    annotations: Annotations,
}

#[derive(Debug, Default, Deserialize)]
struct Labels {
    severity: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Annotations {
    summary: Option<String>,
    /// A document below the root, with the heading's anchor.
    runbook: Option<String>,
}

/// Metrics that Prometheus makes itself.
const OF_PROMETHEUS: [&str; 2] = ["up", "ALERTS"];

/// The metrics that an expression asks for.
struct Asked(Vec<String>);

impl ExprVisitor for Asked {
    type Error = std::convert::Infallible;

    fn pre_visit(&mut self, expression: &Expr) -> Result<bool, Self::Error> {
        match expression {
            Expr::VectorSelector(selector) => self.0.extend(selector.name.clone()),
            Expr::MatrixSelector(matrix) => self.0.extend(matrix.vs.name.clone()),
            _ => {}
        }
        Ok(true)
    }
}

/// Looks at every rule of a file.
pub(crate) fn examine(rules: &Rules, file: &Text, root: &Path, found: &mut Findings) {
    for rule in rules.groups.iter().flat_map(|group| &group.rules) {
        let name = rule.alert.as_deref().unwrap_or("a recording rule");
        let line = line_of(&file.text, name);
        let mut problem =
            |holds, sentence: String| found.expect(holds, &file.name, line, || format!("{name}: {sentence}"));
        match parse(&rule.expr) {
            Err(error) => problem(false, format!("its expression does not parse: {error}")),
            Ok(expression) => {
                let mut asked = Asked(Vec::new());
                let Ok(_) = walk_expr(&mut asked, &expression);
                problem(!asked.0.is_empty(), "its expression asks for no metric".to_owned());
                for metric in asked.0 {
                    let known = program::is_metric(&metric) || OF_PROMETHEUS.contains(&metric.as_str());
                    problem(known, format!("there is no metric {metric}"));
                }
            }
        }
        if rule.alert.is_some() {
            problem(rule.labels.severity.is_some(), "it has no severity".to_owned());
            problem(rule.annotations.summary.is_some(), "it has no summary".to_owned());
            let runbook = rule.annotations.runbook.as_deref().unwrap_or_default();
            problem(leads_somewhere(root, runbook), format!("its runbook {runbook:?} is no heading of a document"));
        }
    }
}

/// Whether `docs/x.md#a-heading` is there.
fn leads_somewhere(root: &Path, runbook: &str) -> bool {
    let Some((file, anchor)) = runbook.split_once('#') else { return false };
    let Ok(text) = std::fs::read_to_string(root.join(file)) else { return false };
    text.lines().filter(|line| line.starts_with('#')).any(|heading| anchor_of(heading) == anchor)
}

/// As the usual renderers make it: lower case, hyphens for spaces, nothing else but letters and digits.
fn anchor_of(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn line_of(text: &str, word: &str) -> usize {
    text.lines().position(|line| line.contains(word)).map_or(1, |line| line + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_that_asks_for_nothing_that_exists_is_told() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("r.md"), "# A\n\n## Dead letters, again\n").unwrap();
        let told = |expression: &str, runbook: &str| {
            let text = format!(
                "groups:\n- name: a\n  rules:\n  - alert: Dead\n    expr: {expression:?}\n    labels: {{severity: page}}\n    \
                 annotations: {{summary: s, runbook: {runbook:?}}}\n"
            );
            let rules: Rules = serde_yaml_ng::from_str(&text).unwrap();
            let mut found = Findings::default();
            examine(&rules, &Text { name: "alerts.yml".to_owned(), text }, root.path(), &mut found);
            found.problems.into_iter().map(|problem| (problem.line, problem.sentence)).collect::<Vec<_>>()
        };
        let good = "sum by (org) (rate(cowork_deliveries_dead_total[5m])) > 0 and on() up == 1";
        assert_eq!(told(good, "r.md#dead-letters-again"), []);
        assert_eq!(
            told("cowork_nothing > 0", "r.md#dead-letters-again"),
            [(4, "Dead: there is no metric cowork_nothing".to_owned())]
        );
        assert!(told("rate(cowork_sessions[5m]", "r.md#a")[0].1.contains("does not parse"));
        assert!(told(good, "r.md#b")[0].1.contains("no heading"));
    }
}

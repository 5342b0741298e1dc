//! A textfile for node_exporter's collector: when the last drill was, what it came to, how long the recovery took.
//!
//! What was not measured has no sample, so that no rule reads a zero. Alert on the age of
//! `cowork_drill_finished_timestamp_seconds`, not only on the verdict: a drill that no longer runs says nothing.
//!
//! Not here: findings' names; they are no metric.

use std::fmt::Write as _;

use crate::report::{Report, Verdict};

pub(super) fn render(report: &Report) -> String {
    let mut text = String::new();
    let passed = f64::from(u8::from(report.verdict == Verdict::Passed));
    metric(&mut text, "cowork_drill_passed", "Whether all ten rows of the last drill passed.", &[("", passed)]);
    let instants = [
        ("cowork_drill_started_timestamp_seconds", "When the last drill began.", report.started_at),
        ("cowork_drill_finished_timestamp_seconds", "When the last drill ended.", report.finished_at),
    ];
    for (name, help, at) in instants {
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of this millennium fit")]
        metric(&mut text, name, help, &[("", at.timestamp_millis() as f64 / 1_000.0)]);
    }
    let signed = f64::from(u8::from(report.signed_by.is_some()));
    metric(&mut text, "cowork_drill_signed", "Whether the last drill's evidence is signed.", &[("", signed)]);
    let measured = &report.measured;
    optional(&mut text, "cowork_drill_rto_seconds", "Measured recovery time.", measured.rto_s);
    optional(&mut text, "cowork_drill_rpo_seconds", "Measured recovery point.", measured.rpo_s);
    let objectives = &report.objectives;
    metric(
        &mut text,
        "cowork_drill_rto_objective_seconds",
        "Objective of the recovery time.",
        &[("", objectives.rto_s)],
    );
    metric(
        &mut text,
        "cowork_drill_rpo_objective_seconds",
        "Objective of the recovery point.",
        &[("", objectives.rpo_s)],
    );
    rows(&mut text, report);
    text
}

#[expect(clippy::cast_precision_loss, reason = "counts of findings are small")]
fn rows(text: &mut String, report: &Report) {
    let all = [Verdict::Passed, Verdict::Failed, Verdict::CouldNotVerify];
    let states = report.checks.iter().flat_map(|check| {
        all.map(|verdict| {
            let labels = format!("check=\"{}\",verdict=\"{}\"", check.id.as_str(), verdict.word().replace(' ', "_"));
            (labels, f64::from(u8::from(check.verdict == verdict)))
        })
    });
    labelled(text, "cowork_drill_check", "What a row came to: 1 at its verdict, else 0.", states);
    let findings =
        report.checks.iter().map(|check| (format!("check=\"{}\"", check.id.as_str()), check.findings_total as f64));
    labelled(text, "cowork_drill_findings", "How many things are wrong.", findings);
}

fn optional(text: &mut String, name: &str, help: &str, value: Option<f64>) {
    if let Some(value) = value {
        metric(text, name, help, &[("", value)]);
    }
}

fn labelled(text: &mut String, name: &str, help: &str, samples: impl Iterator<Item = (String, f64)>) {
    let samples: Vec<(String, f64)> = samples.collect();
    let borrowed: Vec<(&str, f64)> = samples.iter().map(|(labels, value)| (labels.as_str(), *value)).collect();
    metric(text, name, help, &borrowed);
}

/// All labels are ids of ours, so none needs an escape.
fn metric(text: &mut String, name: &str, help: &str, samples: &[(&str, f64)]) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
    for (labels, value) in samples {
        let _ = match *labels {
            "" => writeln!(text, "{name} {value}"),
            labels => writeln!(text, "{name}{{{labels}}} {value}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::report::sample;

    /// Name, labels and value of every sample of a text in Prometheus' format.
    fn samples(text: &str) -> Vec<(String, f64)> {
        let mut declared = BTreeSet::new();
        let mut samples = Vec::new();
        for line in text.lines() {
            if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert_eq!(kind, "gauge");
                assert!(declared.insert(name.to_owned()), "{name} is declared twice");
            } else if !line.starts_with("# HELP ") {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let name = series.split('{').next().unwrap();
                assert!(declared.contains(name), "{name} has no type");
                assert!(!series.contains('{') || series.ends_with("\"}"), "{series}");
                samples.push((series.to_owned(), value.parse().unwrap()));
            }
        }
        samples
    }

    #[test]
    fn every_sample_has_a_type_and_each_series_stands_once() {
        for report in [sample::passing(), sample::failing(), sample::ended_early()] {
            let samples = samples(&render(&report));
            let series: BTreeSet<_> = samples.iter().map(|(series, _)| series).collect();
            assert_eq!(series.len(), samples.len());
            let verdicts =
                samples.iter().filter(|(series, value)| series.starts_with("cowork_drill_check{") && *value == 1.0);
            assert_eq!(verdicts.count(), 10, "each row has one verdict");
        }
    }

    #[test]
    fn what_was_not_measured_has_no_sample() {
        let text = render(&sample::ended_early());
        assert!(!text.contains("cowork_drill_rto_seconds"));
        assert!(text.contains("cowork_drill_passed 0\n"));
        assert!(render(&sample::passing()).contains("cowork_drill_rto_seconds 10.5\n"));
    }
}

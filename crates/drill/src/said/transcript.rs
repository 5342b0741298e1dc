//! Text that a tool or a role gave, as a piece of evidence: line by line, as far as it can be repeated.
//!
//! Not here: text of ours (`Sentence`).

use serde_json::Value;

use super::fact::others;
use super::heard::{Heard, WITHHELD, repeatable};

/// Lines of a transcript, at most.
const LINES_MAX: usize = 2_000;

/// Lines that hold no text of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Transcript(String);

impl Transcript {
    /// What a tool printed: each line as [`Heard`], and what is JSON as far as it holds no text.
    pub(crate) fn heard(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        Self::of(lines.map(|line| match serde_json::from_str(line) {
            Ok(answer @ Value::Object(_)) => others(&answer).to_string(),
            _ => Heard::of(line).to_string(),
        }))
    }

    /// Metrics in the text format of Prometheus: names, numbers, and those labels whose values are words of the vocabulary.
    pub(crate) fn metrics(text: &str) -> Self {
        Self::of(text.lines().filter_map(sample))
    }

    fn of(lines: impl Iterator<Item = String>) -> Self {
        Self(lines.take(LINES_MAX).map(|line| line + "\n").collect())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// One line of metrics. Comments are left out.
fn sample(line: &str) -> Option<String> {
    let (series, value) = line.rsplit_once(' ')?;
    let value: f64 = value.parse().ok()?;
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}')?),
        None => (series, ""),
    };
    if !is_name(name) {
        return Some(format!("{WITHHELD} {value}"));
    }
    let labels: Vec<String> = labels.split("\",").filter_map(label).collect();
    match labels.is_empty() {
        true => Some(format!("{name} {value}")),
        false => Some(format!("{name}{{{}}} {value}", labels.join(","))),
    }
}

/// One label with its value. A value with a quotation mark of its own falls apart, and its parts are withheld.
fn label(text: &str) -> Option<String> {
    let (name, value) = text.split_once("=\"")?;
    let value = value.trim_end_matches('"');
    let shown = if value.parse::<f64>().is_ok_and(|bound| bound < 1e6) { value.to_owned() } else { repeatable(value) };
    is_name(name).then(|| format!("{name}=\"{shown}\""))
}

fn is_name(name: &str) -> bool {
    (1..=100).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_keep_their_names_and_numbers_and_no_text() {
        let text = "# HELP cowork_turns Turns of Ada\n# TYPE cowork_turns counter\ncowork_turns 4\n\
                    cowork_wait_seconds_bucket{role=\"worker\",le=\"0.25\"} 3\n\
                    cowork_seen{who=\"ada@people.invalid\",role=\"web\"} 1\nAda Lovelace 7\n";
        assert_eq!(
            Transcript::metrics(text).as_str(),
            "cowork_turns 4\ncowork_wait_seconds_bucket{role=\"worker\",le=\"0.25\"} 3\n\
             cowork_seen{who=\"…\",role=\"web\"} 1\n… 7\n"
        );
    }

    #[test]
    fn what_a_tool_printed_is_told_line_by_line() {
        let text = "pg_restore: error: could not open file\n\nCOPY of \"Dear Ada\" was restored\nAda\n{\"blobs\": 12, \"title\": \"Ada\"}\n";
        assert_eq!(
            Transcript::heard(text).as_str(),
            "pg_restore: error: could not open file\nCOPY of … was restored\n…\n{\"blobs\":12,\"title\":\"…\"}\n"
        );
    }
}

//! The table that is printed.

use std::fmt::Write as _;

use crate::JOBS;
use crate::sink::Tally;

pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) tally: Tally,
}

pub(crate) fn render(lines: &[Line]) -> String {
    let mut text = format!("| {JOBS} messages through a restore | sent | duplicated | lost | double-fired |\n");
    text.push_str("| --- | ---: | ---: | ---: | ---: |\n");
    for Line { name, tally } in lines {
        let Tally { sent, duplicated, lost, double_fired } = tally;
        let _ = writeln!(text, "| {name} | {sent} | {duplicated} | {lost} | {double_fired} |");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_was_counted() {
        let tally = Tally { sent: 100, duplicated: 100, lost: 0, double_fired: 1 };
        let text = render(&[Line { name: "a queue".to_owned(), tally }]);
        assert!(text.ends_with("| a queue | 100 | 100 | 0 | 1 |\n"), "{text}");
    }
}

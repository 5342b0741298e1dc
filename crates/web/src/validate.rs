//! Whether the texts of a request are within their bounds.

use std::ops::RangeInclusive;

use crate::problem::Problem;

/// `text` without space around it, if it then has as many characters as it may.
pub(crate) fn text(field: &str, text: &str, length: RangeInclusive<usize>) -> Result<String, Problem> {
    let text = text.trim();
    let fits = length.contains(&text.chars().count()) && !text.contains('\0');
    let (least, most) = length.into_inner();
    if fits { Ok(text.to_owned()) } else { Err(Problem::invalid(format!("{field} has {least} to {most} characters"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_trimmed_and_then_bounded() {
        assert_eq!(text("name", " ab ", 1..=2).unwrap(), "ab");
        assert!(text("name", "   ", 1..=2).is_err());
        assert!(text("name", "abc", 1..=2).is_err());
        assert!(text("name", "a\0", 1..=2).is_err(), "Postgres can't store it");
    }
}

//! A row from `COPY ... TO STDOUT` in text format: tabs between columns, `\N` for NULL, backslash escapes for the rest
//! (Postgres' manual, "COPY", "Text Format").

use std::borrow::Cow;

/// The columns of a line without its line end.
pub(crate) fn columns(line: &[u8]) -> Vec<Option<Cow<'_, str>>> {
    let mut columns = Vec::with_capacity(8);
    let mut from = 0;
    for tab in memchr::memchr_iter(b'\t', line) {
        columns.push(column(&line[from..tab]));
        from = tab + 1;
    }
    columns.push(column(&line[from..]));
    columns
}

fn column(field: &[u8]) -> Option<Cow<'_, str>> {
    if field == b"\\N" {
        return None;
    }
    // Checking whole is several times faster than decoding with replacements, and the server sends UTF-8.
    let text = std::str::from_utf8(field).map_or_else(|_| String::from_utf8_lossy(field), Cow::Borrowed);
    Some(if text.contains('\\') { Cow::Owned(unescape(&text)) } else { text })
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(position) = rest.find('\\') {
        plain.push_str(&rest[..position]);
        let mut escaped = rest[position + 1..].chars();
        match escaped.next() {
            Some('b') => plain.push('\u{8}'),
            Some('f') => plain.push('\u{c}'),
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some('t') => plain.push('\t'),
            Some('v') => plain.push('\u{b}'),
            Some(other) => plain.push(other),
            None => {}
        }
        rest = escaped.as_str();
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_come_out_as_they_went_in() {
        assert_eq!(column(b"\\N"), None);
        assert_eq!(column(b"plain").unwrap(), "plain");
        assert_eq!(column(br#"{"a": "x\\ny\\\\z"}"#).unwrap(), r#"{"a": "x\ny\\z"}"#);
        assert_eq!(column(b"a\\tb\\n").unwrap(), "a\tb\n");
    }
}

//! Lines of a bounded length.
//!
//! Not here: what they say (`wire`).

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _};

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Without its end.
    Text(Vec<u8>),
    /// It was longer than it may be. Nothing after it can be read.
    TooLong,
    /// Nothing follows.
    End,
}

/// The next line, which may have so many bytes.
pub(super) async fn next(reader: &mut (impl AsyncBufRead + Unpin), max: usize) -> Line {
    let mut line = Vec::new();
    loop {
        let Ok(ahead) = reader.fill_buf().await else { return Line::End };
        if ahead.is_empty() {
            return if line.is_empty() { Line::End } else { Line::Text(line) };
        }
        let end = ahead.iter().position(|byte| *byte == b'\n');
        let taken = end.unwrap_or(ahead.len());
        if line.len() + taken > max {
            return Line::TooLong;
        }
        line.extend_from_slice(&ahead[..taken]);
        reader.consume(taken + usize::from(end.is_some()));
        if end.is_some() {
            return Line::Text(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(text: &str, expect: &[Line]) {
        // So small that lines lie over its edges.
        let mut reader = tokio::io::BufReader::with_capacity(3, text.as_bytes());
        for line in expect {
            assert_eq!(&next(&mut reader, 6).await, line, "{text:?}");
        }
    }

    #[tokio::test]
    async fn a_line_is_whole_or_too_long() {
        let line = |text: &str| Line::Text(text.as_bytes().to_vec());
        check("", &[Line::End]).await;
        check("ab\n\n123456\nlast", &[line("ab"), line(""), line("123456"), line("last"), Line::End]).await;
        check("a\n1234567\nb", &[line("a"), Line::TooLong]).await;
    }
}

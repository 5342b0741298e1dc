//! One range of bytes (RFC 9110, 14): which part of a content somebody who resumes asks for.
//!
//! Not here: several ranges at once. Who asks for them gets the whole, which the RFC allows.

use std::ops::Range;

use axum::http::{HeaderMap, HeaderValue, header};

/// What of a content to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    Whole,
    Part(Range<u64>),
    /// It begins behind the end.
    Nothing,
}

/// What a request asks for, of a content of `size` bytes with this strong tag.
pub(super) fn wanted(request: &HeaderMap, size: u64, tag: &HeaderValue) -> Wanted {
    // A weak tag, another one or a date: the reader has the beginning of something else.
    if request.get(header::IF_RANGE).is_some_and(|seen| seen != tag) {
        return Wanted::Whole;
    }
    let mut values = request.get_all(header::RANGE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Wanted::Whole };
    value.to_str().ok().and_then(|text| parse(text, size)).unwrap_or(Wanted::Whole)
}

/// `None`: it is no single range of bytes.
fn parse(text: &str, size: u64) -> Option<Wanted> {
    let (unit, range) = text.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") || range.contains(',') {
        return None;
    }
    let (first, last) = range.trim().split_once('-')?;
    let number = |digits: &str| {
        // Longer numbers than fit are behind every end.
        let all_digits = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
        all_digits.then(|| digits.parse::<u64>().unwrap_or(u64::MAX))
    };
    let range = match (first, last) {
        ("", last) => size.saturating_sub(number(last)?)..size,
        (first, "") => number(first)?..size,
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return None;
            }
            first..last.saturating_add(1).min(size)
        }
    };
    Some(if range.start < range.end { Wanted::Part(range) } else { Wanted::Nothing })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(range: &str, size: u64, expect: &Wanted) {
        let request = HeaderMap::from_iter([(header::RANGE, HeaderValue::from_str(range).unwrap())]);
        assert_eq!(&wanted(&request, size, &HeaderValue::from_static("\"a\"")), expect, "{range} of {size}");
    }

    #[test]
    fn a_range_is_brought_within_the_content_or_is_behind_it() {
        check("bytes=0-0", 8, &Wanted::Part(0..1));
        check("bytes=2-5", 8, &Wanted::Part(2..6));
        check("bytes=2-99999999999999999999", 8, &Wanted::Part(2..8));
        check("bytes=3-", 8, &Wanted::Part(3..8));
        check("Bytes= -3", 8, &Wanted::Part(5..8));
        check("bytes=-99", 8, &Wanted::Part(0..8));
        check("bytes=8-", 8, &Wanted::Nothing);
        check("bytes=-0", 8, &Wanted::Nothing);
        check("bytes=0-", 0, &Wanted::Nothing);
    }

    #[test]
    fn what_is_no_single_range_of_bytes_gets_the_whole() {
        for range in ["bytes=5-2", "bytes=0-1,3-4", "lines=1-2", "bytes=a-b", "bytes=-", "bytes", "bytes=+1-2"] {
            check(range, 8, &Wanted::Whole);
        }
    }

    #[test]
    fn who_has_the_beginning_of_something_else_gets_the_whole() {
        let tag = HeaderValue::from_static("\"a\"");
        let request = |seen: &'static str| {
            let headers = [(header::RANGE, "bytes=1-"), (header::IF_RANGE, seen)];
            HeaderMap::from_iter(headers.map(|(name, value)| (name, HeaderValue::from_static(value))))
        };
        assert_eq!(wanted(&request("\"a\""), 8, &tag), Wanted::Part(1..8));
        for seen in ["\"b\"", "W/\"a\"", "Wed, 21 Oct 2015 07:28:00 GMT"] {
            assert_eq!(wanted(&request(seen), 8, &tag), Wanted::Whole, "{seen}");
        }
    }
}

//! The header Retry-After (RFC 9110, section 10.2.3): seconds, or a date.

use std::time::Duration;

use chrono::DateTime;
use clock::Timestamp;
use reqwest::header::{HeaderMap, RETRY_AFTER};

/// How long from `now` the far side asks to be left alone. What can't be read is not there; a date in the past is now.
pub(crate) fn read(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = DateTime::parse_from_rfc2822(text).ok()?;
    Some(at.to_utc().signed_duration_since(now).to_std().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn seconds_and_dates_are_read() {
        let check = |text: &str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            read(&headers, Timestamp::UNIX_EPOCH + TimeDelta::seconds(784_111_700)).map(|wait| wait.as_secs())
        };
        assert_eq!(check("120"), Some(120));
        assert_eq!(check("Sun, 06 Nov 1994 08:49:37 GMT"), Some(77));
        assert_eq!(check("Sat, 05 Nov 1994 08:49:37 GMT"), Some(0));
        assert_eq!(check("soon"), None);
        assert_eq!(check("-1"), None);
    }
}

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use proptest::prelude::*;

use super::*;

fn scanner(value: impl Into<Vec<u8>>) -> Scanner {
    Scanner::new(vec![Needle::new(CanaryClass::ApiToken, "canary", value)]).unwrap()
}

/// Gives its bytes in pieces of the given sizes, over and over.
struct Trickle<'a> {
    bytes: &'a [u8],
    sizes: std::iter::Cycle<std::slice::Iter<'a, usize>>,
}

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let size = (*self.sizes.next().unwrap()).min(buffer.len()).min(self.bytes.len());
        buffer[..size].copy_from_slice(&self.bytes[..size]);
        self.bytes = &self.bytes[size..];
        Ok(size)
    }
}

/// What encoders make of the value in its surroundings; not `encoding::forms`, which is under test.
fn encoded(before: &[u8], value: &str, after: &[u8]) -> Vec<(Encoding, Vec<u8>)> {
    let whole = [before, value.as_bytes(), after].concat();
    let text = format!("{} {value} {}", String::from_utf8_lossy(before), String::from_utf8_lossy(after));
    let form: String = text.bytes().fold(String::new(), |out, byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => out + &char::from(byte).to_string(),
        b' ' => out + "+",
        _ => out + &format!("%{byte:02X}"),
    });
    vec![
        (Encoding::Raw, whole.clone()),
        (Encoding::Json, serde_json::to_vec(&text).unwrap()),
        (Encoding::Base64, STANDARD.encode(&whole).into_bytes()),
        (Encoding::Base64Url, URL_SAFE.encode(&whole).into_bytes()),
        (Encoding::Hex, hex::encode(&whole).into_bytes()),
        (Encoding::Hex, hex::encode_upper(&whole).into_bytes()),
        (Encoding::Percent, form.into_bytes()),
        (Encoding::Reversed, whole.iter().rev().copied().collect()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_planted_value_is_found_in_every_encoding_at_every_place_in_every_chunking(
        value in "[ -~é\"\\\\/&?]{6,60}",
        before in prop::collection::vec(any::<u8>(), 0..200),
        after in prop::collection::vec(any::<u8>(), 0..200),
        sizes in prop::collection::vec(1_usize..70, 1..5),
        piece in 1_usize..100,
    ) {
        let scanner = Scanner { piece, ..scanner(value.as_bytes()) };
        for (encoding, bytes) in encoded(&before, &value, &after) {
            let reader = Trickle { bytes: &bytes, sizes: sizes.iter().cycle() };
            let hits = scanner.scan_reader(reader).unwrap();
            prop_assert!(!hits.is_empty(), "{encoding:?}");
            prop_assert_eq!(&hits, &scanner.scan(&bytes), "chunking changes nothing");
            if encoding == Encoding::Raw {
                let at = before.len() as u64;
                prop_assert!(hits.iter().any(|hit| hit.offset == at && hit.encoding == Encoding::Raw));
            }
        }
    }

    #[test]
    fn nothing_is_found_where_nothing_was_planted(
        value in prop::collection::vec(any::<u8>(), 12..40),
        bytes in prop::collection::vec(any::<u8>(), 0..4_000),
        text in "[ -~]{0,4000}",
    ) {
        let scanner = scanner(value);
        prop_assert_eq!(scanner.scan(&bytes), vec![]);
        prop_assert_eq!(scanner.scan(text.as_bytes()), vec![]);
    }
}

#[test]
fn values_inside_one_another_are_both_found() {
    let scanner = Scanner::new(vec![
        Needle::new(CanaryClass::SignedUrlQuery, "url", "sig=canary@example.test&x"),
        Needle::new(CanaryClass::Email, "email", "canary@example.test"),
    ]);
    let hits = scanner.unwrap().scan(b"..sig=canary@example.test&x..");
    assert_eq!(hits.iter().map(|hit| (hit.label.as_str(), hit.offset)).collect::<Vec<_>>(), [("email", 6), ("url", 2)]);
}

#[test]
fn a_value_too_short_to_judge_by_is_refused() {
    let refused = Scanner::new(vec![Needle::new(CanaryClass::Email, "short", "a@b.c")]).unwrap_err();
    assert_eq!(refused, NeedleTooShort { label: "short".into() });
}

#[test]
fn an_input_full_of_hits_ends_the_scan() {
    let input = "canary ".repeat(MAX_HITS + 5);
    assert_eq!(scanner("canary").scan(input.as_bytes()).len(), MAX_HITS);
    assert_eq!(scanner("canary").scan_reader(input.as_bytes()).unwrap().len(), MAX_HITS);
}

#[test]
fn no_result_tells_the_value() {
    let scanner = scanner("hunter2hunter2");
    let shown = format!("{scanner:?} {:?}", scanner.scan(b"hunter2hunter2"));
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(!format!("{:?}", Needle::new(CanaryClass::ApiToken, "x", "hunter2")).contains("hunter2"));
}

#[test]
fn a_stream_that_breaks_is_an_error_not_a_clean_result() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }
    assert!(scanner("canary").scan_reader(Broken).is_err());
}

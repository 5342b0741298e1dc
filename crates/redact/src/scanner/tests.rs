use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use proptest::prelude::*;

use super::*;
use crate::encoding::Encoding;
use crate::findings::{MAX_HITS, Reason};

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

/// What encoders make of the value in its surroundings.
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
        (Encoding::Zstd, zstd::encode_all(whole.as_slice(), 1).unwrap()),
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
            let found = scanner.scan_reader(reader).unwrap();
            prop_assert!(!found.hits.is_empty(), "{encoding:?}");
            if encoding == Encoding::Raw {
                let at = before.len() as u64;
                prop_assert!(found.hits.iter().any(|hit| hit.offset == at && hit.encodings == [Encoding::Raw]));
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
        prop_assert_eq!(scanner.scan(&bytes).hits, vec![]);
        prop_assert_eq!(scanner.scan(text.as_bytes()).hits, vec![]);
    }
}

#[test]
fn values_inside_one_another_are_both_found() {
    let scanner = Scanner::new(vec![
        Needle::new(CanaryClass::SignedUrlQuery, "url", "sig=canary@example.test&x"),
        Needle::new(CanaryClass::Email, "email", "canary@example.test"),
    ]);
    let found = scanner.unwrap().scan(b"..sig=canary@example.test&x..");
    let places: Vec<_> = found.hits.iter().map(|hit| (hit.what.label(), hit.offset, hit.length)).collect();
    assert_eq!(places, [("email", 6, 19), ("url", 2, 25)]);
}

#[test]
fn a_value_too_short_to_judge_by_is_refused() {
    let refused = Scanner::new(vec![Needle::new(CanaryClass::Email, "short", "a@b.c")]).unwrap_err();
    assert_eq!(refused, NeedleTooShort { label: "short".into() });
}

#[test]
fn an_input_full_of_hits_ends_the_scan() {
    let input = "canary ".repeat(MAX_HITS + 5);
    assert_eq!(scanner("canary").scan(input.as_bytes()).hits.len(), MAX_HITS);
    assert_eq!(scanner("canary").scan_reader(input.as_bytes()).unwrap().hits.len(), MAX_HITS);
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

#[test]
fn a_hit_says_where_it_is_and_how_it_was_written() {
    let scanner = scanner("hunter2hunter2");
    let packed = zstd::encode_all("hunter2hunter2, ".repeat(9).as_bytes(), 1).unwrap();
    for (text, offset, length, written) in [
        ("ab hunter2hunter2".to_owned(), 3, 14, "raw"),
        ("ab hunter2%68unter2 c".to_owned(), 3, 16, "percent > raw"),
        (r"ab hunter2\u0068unter2 c".to_owned(), 3, 19, "unicode_escaped > raw"),
        ("ab 2retnuh2retnuh".to_owned(), 3, 14, "reversed"),
        (format!("ab {}", hex::encode(&packed)), 3, packed.len() as u64 * 2, "hex > zstd > raw"),
    ] {
        let found = scanner.scan(text.as_bytes());
        let hit = &found.hits[0];
        assert_eq!((hit.offset, hit.length, hit.written().as_str()), (offset, length, written), "{text}");
        assert_eq!(found.unseen, []);
    }
}

/// `content`, encoded over and over.
fn nested(content: &[u8], times: usize) -> Vec<u8> {
    (0..times).fold(content.to_vec(), |bytes, _| STANDARD.encode(bytes).into_bytes())
}

fn reasons(found: &Findings) -> Vec<Reason> {
    found.unseen.iter().map(|unseen| unseen.reason).collect()
}

#[test]
fn what_is_nested_too_deep_is_told() {
    let scanner = scanner("hunter2hunter2");
    let five = scanner.scan(&nested(b"hunter2hunter2", 5));
    assert_eq!((five.hits.len(), &five.unseen), (1, &Vec::new()));
    let eight = scanner.scan(&nested(b"hunter2hunter2", 8));
    assert_eq!((eight.hits.len(), reasons(&eight)), (0, vec![Reason::TooDeep]));
}

#[test]
fn bombs_are_told_and_not_unpacked() {
    let limits = Limits { ratio_from: 1 << 20, work: 4 << 20, work_per_byte: 0, ..Limits::default() };
    let scanner = scanner("hunter2hunter2").within(limits);
    let zeros = zstd::encode_all(std::io::repeat(0).take(64 << 20), 1).unwrap();
    assert_eq!(reasons(&scanner.scan(&zeros)), [Reason::TooLarge]);
    let hardly: Vec<u8> = (0..2_u32 << 20).flat_map(|number| (number / 7).to_le_bytes()).collect();
    let hardly = zstd::encode_all(hardly.as_slice(), 1).unwrap();
    assert_eq!(reasons(&scanner.scan(&hardly)), [Reason::TooMuchWork]);
    assert_eq!(scanner.scan(&[zeros.as_slice(), b" hunter2hunter2"].concat()).hits.len(), 1, "it goes on after it");
}

#[test]
fn what_can_not_be_read_is_told() {
    let scanner = scanner("hunter2hunter2");
    let content: Vec<u8> = (0..5_000_u32).flat_map(u32::to_be_bytes).collect();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &content).unwrap();
    let gzip = gzip.finish().unwrap();
    assert_eq!(scanner.scan(&gzip).unseen, []);
    assert_eq!(reasons(&scanner.scan(&gzip[..gzip.len() - 20])), [Reason::Damaged]);
    assert_eq!(reasons(&scanner.scan(b"\xfd7zXZ\0 and more")), [Reason::Unreadable]);
    assert_eq!(
        reasons(&scanner.scan(b"PK\x03\x04\x14\0\x01\0\x08\0aaaabbbbccccddd\xff\x05\0\0\0a.txt")),
        [Reason::Unreadable]
    );
}

//! Twelve kinds of secrets, in every encoding, in every encoding of an encoding, at every alignment, cut anywhere: each is
//! found. What the encoders here do is written down without a look at the scanner.

use std::fmt::Write as _;
use std::io::{self, Read};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use redact::{Findings, Needle, Scanner};

/// A repeatable source of characters: secrets are made here, not written into the source.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn of(&mut self, alphabet: &str, length: usize) -> String {
        let letters: Vec<char> = alphabet.chars().collect();
        let place = |roll: u64| usize::try_from(roll % letters.len() as u64).unwrap();
        (0..length).map(|_| letters[place(self.roll())]).collect()
    }
}

const ALNUM: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// One secret of each of twelve kinds.
fn secrets(seed: u64) -> Vec<(&'static str, String)> {
    let mut dice = Dice(seed | 1);
    let mut alnum = |length| dice.of(ALNUM, length);
    let mut kinds = vec![
        ("our API token", format!("cow_{}", alnum(43))),
        ("cloud key id", format!("AKIA{}", alnum(16).to_uppercase())),
        ("cloud secret", alnum(38) + "/+"),
        ("forge token", format!("ghp_{}", alnum(36))),
        ("chat token", format!("xoxb-{}-{}", alnum(12), alnum(24))),
        ("model provider's key", format!("sk-ant-api03-{}", alnum(60))),
        ("channel signing secret", format!("whsec_{}==", alnum(42))),
        ("JWT", format!("eyJ{}.eyJ{}.{}", alnum(30), alnum(80), alnum(43))),
        ("database URL", format!("postgres://app:{}@db.internal:5432/app", alnum(20))),
        ("signed URL", format!("sig={}%2B{}%3D&se=2026", alnum(20), alnum(20))),
        ("email", format!("{}@people.invalid", alnum(12).to_lowercase())),
    ];
    // With everything that encoders treat in a way of their own.
    kinds.push(("password", format!("p\"ä\\'<{}> /é&\t%41+{}😀", alnum(6), alnum(6))));
    kinds
}

type Encoder = (&'static str, fn(&[u8]) -> Vec<u8>);

const ENCODERS: [Encoder; 23] = [
    ("raw", <[u8]>::to_vec),
    ("json", |bytes| serde_json::to_vec(&text(bytes)).unwrap()),
    ("json with escaped slashes", |bytes| {
        serde_json::to_string(&text(bytes)).unwrap().replace('/', "\\/").into_bytes()
    }),
    ("base64", |bytes| STANDARD.encode(bytes).into_bytes()),
    ("base64, second alignment", |bytes| STANDARD.encode([b"x", bytes].concat()).into_bytes()),
    ("base64, third alignment", |bytes| STANDARD.encode([b"xy", bytes].concat()).into_bytes()),
    ("base64, wrapped", |bytes| wrapped(&STANDARD.encode(bytes))),
    ("base64url", |bytes| URL_SAFE.encode(bytes).into_bytes()),
    ("base64url, second alignment", |bytes| URL_SAFE_NO_PAD.encode([b"x", bytes].concat()).into_bytes()),
    ("base64url, third alignment", |bytes| URL_SAFE_NO_PAD.encode([b"xy", bytes].concat()).into_bytes()),
    ("hex", |bytes| hex::encode(bytes).into_bytes()),
    ("hex, upper case", |bytes| hex::encode_upper(bytes).into_bytes()),
    ("percent", |bytes| percent(bytes, |byte| !byte.is_ascii_alphanumeric(), true)),
    ("percent, lower case", |bytes| percent(bytes, |byte| !byte.is_ascii_alphanumeric(), false)),
    ("percent, some letters", |bytes| percent(bytes, |byte| !byte.is_ascii_alphanumeric() || byte % 3 == 0, false)),
    ("percent, all", |bytes| percent(bytes, |_| true, true)),
    ("\\u, lower case", |bytes| unicode(bytes, false)),
    ("\\u, upper case", |bytes| unicode(bytes, true)),
    ("HTML", |bytes| text(bytes).chars().map(|c| format!("&#{};", u32::from(c))).collect::<String>().into_bytes()),
    ("reversed", |bytes| bytes.iter().rev().copied().collect()),
    ("gzip", |bytes| finish(GzEncoder::new(Vec::new(), Compression::default()), bytes, GzEncoder::finish)),
    ("zlib", |bytes| finish(ZlibEncoder::new(Vec::new(), Compression::best()), bytes, ZlibEncoder::finish)),
    ("zstd", |bytes| zstd::encode_all(bytes, 3).unwrap()),
];

/// As text; bytes that are none are taken for characters up to U+00FF, which is how JSON holds them.
fn text(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| bytes.iter().map(|byte| char::from(*byte)).collect(), str::to_owned)
}

fn wrapped(line: &str) -> Vec<u8> {
    line.as_bytes().chunks(76).collect::<Vec<_>>().join(&b'\n')
}

fn percent(bytes: &[u8], escape: impl Fn(u8) -> bool, upper: bool) -> Vec<u8> {
    let mut out = String::new();
    let mut written = Vec::new();
    for byte in bytes {
        out.clear();
        match escape(*byte) {
            true if upper => write!(out, "%{byte:02X}").unwrap(),
            true => write!(out, "%{byte:02x}").unwrap(),
            false => out.push(char::from(*byte)),
        }
        written.extend_from_slice(out.as_bytes());
    }
    written
}

fn unicode(bytes: &[u8], upper: bool) -> Vec<u8> {
    let unit = |unit: u16| if upper { format!("\\u{unit:04X}") } else { format!("\\u{unit:04x}") };
    text(bytes).encode_utf16().map(unit).collect::<String>().into_bytes()
}

fn finish<W: io::Write>(mut encoder: W, bytes: &[u8], finish: impl Fn(W) -> io::Result<Vec<u8>>) -> Vec<u8> {
    encoder.write_all(bytes).unwrap();
    finish(encoder).unwrap()
}

fn scanner(secrets: &[(&'static str, String)]) -> Scanner {
    let needles = secrets.iter().map(|(kind, value)| Needle::new(None, *kind, value.as_bytes()));
    Scanner::new(needles.collect()).unwrap()
}

fn labels(found: &Findings) -> Vec<&str> {
    found.hits.iter().map(|hit| hit.what.label()).collect()
}

/// Something around it, as a log has.
fn in_a_log(written: &[u8]) -> Vec<u8> {
    [b"2026-11-23T10:00:00Z INFO request.id=42 value: ", written, b" - done\nnext line\n"].concat()
}

#[test]
fn every_kind_is_found_in_every_encoding() {
    let secrets = secrets(7);
    let scanner = scanner(&secrets);
    for (name, encode) in ENCODERS {
        for (kind, value) in &secrets {
            let found = scanner.scan(&in_a_log(&encode(value.as_bytes())));
            assert!(labels(&found).contains(kind), "{kind} in {name}");
            assert!(labels(&found).iter().all(|label| label == kind), "{name}: {:?}", found.hits);
        }
    }
}

#[test]
fn every_kind_is_found_in_every_encoding_of_every_encoding() {
    let secrets = secrets(8);
    let scanner = scanner(&secrets);
    let mut missed = Vec::new();
    for (outer, encode_outer) in ENCODERS {
        for (inner, encode_inner) in ENCODERS {
            for (kind, value) in &secrets {
                let line = [b"{\"a\":\"", encode_inner(value.as_bytes()).as_slice(), b"\"}"].concat();
                if !labels(&scanner.scan(&in_a_log(&encode_outer(&line)))).contains(kind) {
                    missed.push(format!("{kind}: {outer} of {inner}"));
                }
            }
        }
    }
    assert!(missed.is_empty(), "{} missed: {missed:#?}", missed.len());
}

#[test]
fn three_encodings_deep_and_in_a_zip_it_is_found() {
    let secrets = secrets(9);
    let scanner = scanner(&secrets);
    let by = |name: &str| ENCODERS.iter().find(|(is, _)| *is == name).unwrap().1;
    for chain in [["json", "gzip", "base64"], ["base64", "zstd", "hex, upper case"], ["hex", "base64", "percent, all"]]
    {
        for (kind, value) in &secrets {
            let written = chain.iter().fold(value.clone().into_bytes(), |bytes, name| by(name)(&bytes));
            assert!(labels(&scanner.scan(&in_a_log(&written))).contains(kind), "{kind} in {chain:?}");
        }
    }
    for (kind, value) in &secrets {
        let deflated = finish(
            DeflateEncoder::new(Vec::new(), Compression::default()),
            &in_a_log(value.as_bytes()),
            DeflateEncoder::finish,
        );
        assert!(labels(&scanner.scan(&deflated)).contains(kind), "{kind} deflated without a header");
        assert!(
            labels(&scanner.scan(STANDARD.encode(&deflated).as_bytes())).contains(kind),
            "{kind} the same, as base64"
        );
        let zip = zip_of(&deflated);
        assert!(labels(&scanner.scan(&zip)).contains(kind), "{kind} in a zip");
        let zip_in_gzip = by("gzip")(&[b"padding", zip.as_slice()].concat());
        assert!(labels(&scanner.scan(&zip_in_gzip)).contains(kind), "{kind} in a zip in a gzip");
    }
}

/// The first entry of a zip, whose sizes come after it.
fn zip_of(deflated: &[u8]) -> Vec<u8> {
    let header = [b"PK\x03\x04\x14\0\x08\0\x08\0".as_slice(), &[0; 16], b"\x05\0\0\0a.txt"].concat();
    [header.as_slice(), deflated, b"PK\x01\x02 and so on"].concat()
}

/// Gives its bytes in pieces of the given sizes, over and over.
struct Trickle<'a> {
    bytes: &'a [u8],
    size: usize,
}

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let size = self.size.min(buffer.len()).min(self.bytes.len());
        buffer[..size].copy_from_slice(&self.bytes[..size]);
        self.bytes = &self.bytes[size..];
        Ok(size)
    }
}

/// The scanner looks at 256 KiB at a time; here each encoding stands across such a seam, at many places of it.
#[test]
fn no_encoding_hides_on_a_seam() {
    let secrets = secrets(10);
    let scanner = scanner(&secrets);
    let (kind, value) = &secrets[8];
    let seam = 256 * 1024;
    for (name, encode) in ENCODERS {
        for (_, inside) in ENCODERS.into_iter().filter(|(inside, _)| ["raw", "gzip", "hex"].contains(inside)) {
            let written = in_a_log(&encode(&inside(value.as_bytes())));
            for cut in (0..written.len()).step_by(written.len() / 7 + 1) {
                let text = [b".".repeat(seam - cut), written.clone(), b".".repeat(100)].concat();
                let found = scanner.scan_reader(Trickle { bytes: &text, size: 100_000 }).unwrap();
                assert!(labels(&found).contains(kind), "{name}, cut at {cut}");
                assert_eq!(found.bytes, text.len() as u64);
            }
        }
    }
}

/// What is longer than a scanner holds back is decoded while it arrives.
#[test]
fn an_encoding_of_megabytes_is_looked_through_to_its_end() {
    let secrets = secrets(11);
    let scanner = scanner(&secrets);
    let (kind, value) = &secrets[3];
    let mut dice = Dice(99);
    let noise: String = (0..6_000).map(|_| format!("{} {}\n", dice.of(ALNUM, 12), dice.of(ALNUM, 12))).collect();
    let by = |name: &str| ENCODERS.iter().find(|(is, _)| *is == name).unwrap().1;
    for inner in ["raw", "gzip", "zstd", "zlib"] {
        let content = by(inner)(format!("{noise}{value}{noise}").as_bytes());
        for (outer, encode) in ENCODERS {
            if outer == "reversed"
                || outer.starts_with("json") && inner != "raw"
                || outer.starts_with("\\u")
                || outer == "HTML"
            {
                continue;
            }
            let found = scanner.scan(&in_a_log(&encode(&content)));
            assert!(labels(&found).contains(kind), "{inner} in {outer}");
        }
    }
}

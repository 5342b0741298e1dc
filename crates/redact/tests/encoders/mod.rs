//! Secrets of twelve kinds, and encoders that were written without a look at the scanner. `make bench-scan` uses them too.

use std::fmt::Write as _;
use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

/// A repeatable source of characters: secrets are made here, not written into the source.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn of(&mut self, alphabet: &str, length: usize) -> String {
        let letters: Vec<char> = alphabet.chars().collect();
        let place = |roll: u64| usize::try_from(roll % letters.len() as u64).unwrap();
        (0..length).map(|_| letters[place(self.roll())]).collect()
    }
}

pub(crate) const ALNUM: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// One secret of each of twelve kinds.
pub(crate) fn secrets(seed: u64) -> Vec<(&'static str, String)> {
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

pub(crate) type Encoder = (&'static str, fn(&[u8]) -> Vec<u8>);

pub(crate) const ENCODERS: [Encoder; 23] = [
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

pub(crate) fn finish<W: io::Write>(mut encoder: W, bytes: &[u8], finish: impl Fn(W) -> io::Result<Vec<u8>>) -> Vec<u8> {
    encoder.write_all(bytes).unwrap();
    finish(encoder).unwrap()
}

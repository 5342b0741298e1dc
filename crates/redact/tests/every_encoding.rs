//! Twelve kinds of secrets, in every encoding, in every encoding of an encoding, at every alignment, cut anywhere: each is
//! found. What the encoders here do is written down without a look at the scanner.

mod encoders;

use std::io::{self, Read};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use redact::{Findings, Needle, Scanner};

use self::encoders::{ALNUM, Dice, ENCODERS, finish, secrets};

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

//! The scanner: whatever surrounds a known secret, it is found; however the bytes arrive, the same is found; what is
//! redacted holds it no more.

#![no_main]

use std::io::Read;

use libfuzzer_sys::fuzz_target;
use redact::{CanaryClass, Needle, Redactor, Scanner};

const SECRET: &[u8] = b"cow_8QxvWm3kTzRn5PdJ";

fuzz_target!(|bytes: &[u8]| {
    let scanner = Scanner::new(vec![Needle::new(CanaryClass::ApiToken, "a token", SECRET)]).expect("it is long enough");
    let _ = scanner.scan(bytes);
    let (at, chunk) = match bytes {
        [at, chunk, ..] => (usize::from(*at) * bytes.len() / 256, usize::from(*chunk) + 1),
        _ => (0, 1),
    };
    let mut planted = bytes[..at].to_vec();
    planted.extend_from_slice(SECRET);
    planted.extend_from_slice(&bytes[at..]);
    assert!(!scanner.scan(&planted).hits.is_empty(), "a secret in plain sight");
    let read = scanner.scan_reader(Chunks { bytes: &planted, chunk }).expect("memory can be read");
    assert!(!read.hits.is_empty(), "a secret that arrives in pieces");
    let redactor = Redactor::new();
    assert!(redactor.register(SECRET));
    let clean = redactor.redact_bytes(&planted);
    assert!(!clean.windows(SECRET.len()).any(|window| window == SECRET), "a secret that was redacted");
});

/// Gives a few bytes at a time.
struct Chunks<'a> {
    bytes: &'a [u8],
    chunk: usize,
}

impl Read for Chunks<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let many = self.chunk.min(buffer.len()).min(self.bytes.len());
        buffer[..many].copy_from_slice(&self.bytes[..many]);
        self.bytes = &self.bytes[many..];
        Ok(many)
    }
}

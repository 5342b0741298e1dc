//! A bundle: whatever lies in the folder, it is refused, for nobody who makes these bytes has the key; nothing outside is
//! read, and nothing is written.
//!
//! The first byte says which file the rest is. A statement is also read as if it had been signed.

#![no_main]

use std::path::Path;

use attest::statement::Statement;
use attest::{Envelope, SigningKey, bundle};
use libfuzzer_sys::fuzz_target;

const FILES: [&str; 3] = [bundle::ENVELOPE, bundle::JOURNAL, bundle::REPORT];

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, content)) = bytes.split_first() else { return };
    let _ = Envelope::parse(content);
    let key = SigningKey::from_seed(&[7; 32]);
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let put = |name: &str, content: &[u8]| std::fs::write(folder.path().join(name), content).expect("it can be written");
    match usize::from(*kind) % (FILES.len() + 1) {
        place if place < FILES.len() => put(FILES[place], content),
        _ => {
            // What was signed can still be nonsense.
            if let Ok(statement) = Statement::parse(content) {
                assert_eq!(Statement::parse(&statement.render()).expect("what is rendered is read"), statement);
            }
            put(FILES[0], &Envelope::sign(content.to_vec(), &key).render());
        }
    }
    let before = names(folder.path());
    assert!(bundle::verify(folder.path(), &key.public()).is_err(), "a bundle without its files is none");
    let _ = bundle::conclusion(folder.path());
    assert_eq!(names(folder.path()), before);
});

fn names(folder: &Path) -> Vec<std::ffi::OsString> {
    std::fs::read_dir(folder).expect("it is there").flatten().map(|entry| entry.file_name()).collect()
}

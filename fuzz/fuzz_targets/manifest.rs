//! An archive: whatever stands in a manifest and in the list of blobs, a backup is read or refused; nothing is written.
//!
//! The manifest is given its right sum, so that what lies behind the sum is reached. The input is the manifest, a line of zeros,
//! and the list of blobs.

#![no_main]

use std::path::Path;

use archive::{Archive, Manifest};
use libfuzzer_sys::fuzz_target;

const ID: &str = "01999999-9999-7999-8999-999999999999";

fuzz_target!(|bytes: &[u8]| {
    let at = bytes.windows(2).position(|pair| pair == b"\0\n").unwrap_or(bytes.len());
    let (manifest, blobs) = (&bytes[..at], bytes.get(at + 2..).unwrap_or_default());
    if let Ok(manifest) = serde_json::from_slice::<Manifest>(manifest) {
        let again = serde_json::to_vec(&manifest).expect("a manifest is JSON");
        assert_eq!(serde_json::from_slice::<Manifest>(&again).expect("it was written by us"), manifest);
    }
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let root = folder.path();
    let backup = root.join("backups").join(ID);
    let put = |path: &Path, content: &[u8]| std::fs::write(path, content).expect("it can be written");
    std::fs::create_dir_all(&backup).expect("it can be made");
    put(&root.join("archive.json"), format!("{{\"format\":\"cowork-archive\",\"version\":1,\"archive_id\":\"{ID}\"}}\n").as_bytes());
    put(&backup.join("manifest.json"), manifest);
    put(&backup.join("manifest.sha256"), format!("{}  manifest.json\n", attest::sha256_hex(manifest)).as_bytes());
    put(&backup.join("blobs.jsonl"), blobs);
    let archive = Archive::open(root).expect("it is one");
    let Ok(found) = archive.resolve("latest").and_then(|id| archive.read(id)) else { return };
    if let Ok(blobs) = found.blobs() {
        for blob in blobs {
            assert!(archive.blob(&blob.sha256).starts_with(root), "a blob outside of the archive");
        }
    }
    for probe in &found.manifest.probes {
        let _ = found.probe_rows::<serde_json::Value>(&probe.name);
    }
});

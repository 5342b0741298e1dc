//! An envelope of ours, checked by a DSSE library that is not ours: Python's `securesystemslib`.
//!
//! Needs `python3` with `venv`, and its packages from a Python index the first time; they are kept in the target folder.

use std::path::{Path, PathBuf};
use std::process::Command;

use attest::{Envelope, SigningKey};

/// Verifies `argv[1]` with the public key in `argv[2]`.
const CHECK: &str = r#"
import json, sys
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey
text = json.load(open(sys.argv[1]))
public = load_pem_public_key(open(sys.argv[2], "rb").read())
key = SSlibKey.from_crypto(public, keyid=text["signatures"][0]["keyid"])
Envelope.from_dict(text).verify([key], 1)
"#;

fn ran(command: &mut Command) -> bool {
    let output = command.output().expect("python3 with venv can be started");
    if !output.status.success() {
        eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    }
    output.status.success()
}

fn python() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("securesystemslib");
    let python = folder.join("bin/python");
    assert!(python.exists(), "{} has no packages", folder.display());
    python
}

fn prepare() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("securesystemslib");
    if !folder.join("ready").exists() {
        assert!(ran(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder)), "this needs python3-venv");
        let packages = ["install", "--quiet", "securesystemslib==1.6.0", "cryptography"];
        assert!(ran(Command::new(folder.join("bin/pip")).args(packages)), "this needs a Python package index");
        std::fs::write(folder.join("ready"), "").unwrap();
    }
}

#[test]
fn a_library_that_is_not_ours_accepts_our_envelope_and_refuses_a_changed_one() {
    prepare();
    let (python, folder) = (python(), tempfile::tempdir().unwrap());
    let key = SigningKey::from_seed(&[7; 32]);
    let (envelope, public) = (folder.path().join("envelope.json"), folder.path().join("key.pub"));
    std::fs::write(&public, key.public().to_pem()).unwrap();
    let signed = Envelope::sign(b"{\"_type\":\"https://in-toto.io/Statement/v1\"}".to_vec(), &key);
    let accepts = |envelope_is: &Envelope| {
        std::fs::write(&envelope, envelope_is.render()).unwrap();
        ran(Command::new(&python).args(["-c", CHECK]).arg(&envelope).arg(&public))
    };
    assert!(accepts(&signed));
    let mut changed = signed;
    changed.payload = b"{}".to_vec();
    assert!(!accepts(&changed));
}

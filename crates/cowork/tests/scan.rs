//! `cowork scan` from outside: what it answers, and that it never repeats what it found.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// Made at run time, so that no scanner of source code takes this file for a leak.
fn secret() -> String {
    "Xy7".repeat(3) + &"kQ2z".repeat(4)
}

fn scan(folder: &TempDir, arguments: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cowork"));
    command.current_dir(folder.path()).env_clear().env("PLANTED", secret()).arg("scan").args(arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It may end without reading.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    for told in [&output.stdout, &output.stderr] {
        assert!(!String::from_utf8_lossy(told).contains(&secret()), "the secret was repeated");
    }
    output
}

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("logs")).unwrap();
    std::fs::write(folder.path().join("logs/clean.log"), "nothing here\n").unwrap();
    folder
}

#[test]
fn a_folder_is_clean_or_says_where_it_leaks() {
    let folder = folder();
    let arguments = ["logs", "--value-from", "env:PLANTED", "--json"];
    assert_eq!(scan(&folder, &arguments, b"").status.code(), Some(0));
    let reversed: String = secret().chars().rev().collect();
    std::fs::write(folder.path().join("logs/b.log"), format!("a {reversed}")).unwrap();
    let output = scan(&folder, &arguments, b"");
    assert_eq!(output.status.code(), Some(1));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["inputs"], 2);
    assert_eq!(told["told"][0]["input"], "logs/b.log");
    assert_eq!(told["told"][0]["hits"][0]["offset"], 2);
    assert_eq!(told["told"][0]["hits"][0]["encodings"][0], "reversed");
}

#[test]
fn standard_input_is_scanned_by_value_and_by_pattern() {
    let folder = folder();
    let output = scan(&folder, &["-", "--value-from", "env:PLANTED"], format!("x {} y", secret()).as_bytes());
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.starts_with("-: byte 2: env:PLANTED, written as raw\n"), "{told}");
    let token = format!("token: ghp_{}", "a1B2".repeat(9));
    let output = scan(&folder, &["-", "--patterns", "--sarif"], token.as_bytes());
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["version"], "2.1.0");
    assert_eq!(told["runs"][0]["results"][0]["ruleId"], "github_token");
    assert!(!told.to_string().contains("a1B2"), "{told}");
}

#[test]
fn what_can_not_be_looked_at_is_not_clean() {
    let folder = folder();
    let arguments = ["logs", "--value-from", "env:PLANTED"];
    assert_eq!(scan(&folder, &["nothing", "--value-from", "env:PLANTED"], b"").status.code(), Some(2));
    std::fs::write(folder.path().join("logs/a.xz"), b"\xfd7zXZ\0 and so on").unwrap();
    let output = scan(&folder, &arguments, b"");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stdout).contains("could not look inside"));
}

#[test]
fn a_scan_for_nothing_or_for_a_missing_secret_is_refused() {
    let folder = folder();
    assert_eq!(scan(&folder, &["logs"], b"").status.code(), Some(64));
    assert_eq!(scan(&folder, &["logs", "--value-from", "plain-text"], b"").status.code(), Some(64));
    assert_eq!(scan(&folder, &["logs", "--value-from", "env:ABSENT"], b"").status.code(), Some(2));
}

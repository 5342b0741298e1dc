//! `attest verify DIR --public-key FILE [--json]`: checks a drill's bundle, offline, with nothing else of ours.
//!
//! Not here: the checking (`attest::bundle`). Arguments are read by hand, so that nothing stands between a reader and
//! what is verified.

use std::path::PathBuf;
use std::process::ExitCode;

use attest::Answer;

const HELP: &str = "Check the evidence of a restore drill, offline.

Usage: attest verify DIR --public-key FILE [--json]

  DIR                 the drill's report folder
  --public-key FILE   the Ed25519 public key, in PEM, of whoever you trust to run drills
  --json              the answer for programs, with the signed statement

Exit codes: 0 verified, whatever the drill's verdict is; 1 refused; 2 could not be looked at; 64 called wrongly.
FORMAT.md beside this program's source describes the bundle.";

const USAGE: u8 = 64;

struct Wanted {
    folder: PathBuf,
    public_key: PathBuf,
    json: bool,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    if arguments.iter().any(|word| word == "--help" || word == "-h") {
        println!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let Some(wanted) = read(&arguments) else {
        eprintln!("{HELP}");
        return ExitCode::from(USAGE);
    };
    let answer = match std::fs::read_to_string(&wanted.public_key) {
        Ok(pem) => Answer::of(&wanted.folder, &pem),
        Err(error) => Answer::CouldNot(format!("the public key can't be read: {error}")),
    };
    match (wanted.json, answer.exit_code()) {
        (true, _) => println!("{:#}", answer.json()),
        (false, 0) => println!("{}", answer.text()),
        (false, _) => eprintln!("{}", answer.text()),
    }
    ExitCode::from(answer.exit_code())
}

/// The flags, each at most once, in any order.
fn read(arguments: &[String]) -> Option<Wanted> {
    let mut words = arguments.iter();
    if words.next()? != "verify" {
        return None;
    }
    let (mut folder, mut public_key, mut json) = (None, None, false);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--json" if !json => json = true,
            "--public-key" if public_key.is_none() => public_key = Some(PathBuf::from(words.next()?)),
            word if folder.is_none() && !word.starts_with('-') => folder = Some(PathBuf::from(word)),
            _ => return None,
        }
    }
    Some(Wanted { folder: folder?, public_key: public_key?, json })
}

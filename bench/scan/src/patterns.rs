//! Patterns: secrets of fourteen kinds as people leave them in files, and lines that only look like it; the same files for all.
//!
//! A secret counts as found if its line is told, under whatever name.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use redact::Scanner;
use serde_json::{Value, json};

use super::encoders::{ALNUM, Dice};
use super::rivals::Rivals;

/// A file and a line of it, from 1.
pub(crate) type Place = (PathBuf, usize);

const EACH: usize = 40;
const DECOYS: usize = 4_000;
const HEX: &str = "0123456789abcdef";

/// One of each kind; the names are the vendors', the values are made here.
fn kinds(dice: &mut Dice) -> Vec<(&'static str, String)> {
    let mut alnum = |length| dice.of(ALNUM, length);
    let mut kinds = vec![
        ("aws_access_key_id", format!("AKIA{}", alnum(16).to_uppercase())),
        ("github_token", format!("ghp_{}", alnum(36))),
        ("gitlab_token", format!("glpat-{}", alnum(20))),
        ("slack_token", format!("xoxb-{}-{}-{}", "123456789012", "123456789012", alnum(24))),
        ("stripe_key", format!("sk_live_{}", alnum(24))),
        ("npm_token", format!("npm_{}", alnum(36))),
        ("sendgrid_key", format!("SG.{}.{}", alnum(22), alnum(43))),
        ("openai_key", format!("sk-{}T3BlbkFJ{}", alnum(20), alnum(20))),
        ("google_api_key", format!("AIza{}", alnum(35))),
        ("jwt", jwt(&alnum(12), &alnum(43))),
        ("password_in_url", format!("https://deploy:{}@registry.internal/v2", alnum(20))),
        ("random_password", alnum(28)),
    ];
    kinds.push(("mailchimp_key", format!("{}-us14", dice.of(HEX, 32))));
    kinds.push(("twilio_key", format!("SK{}", dice.of(HEX, 32))));
    kinds
}

/// With a header and claims that are JSON, as one of the others asks.
fn jwt(subject: &str, signature: &str) -> String {
    let part = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let (header, claims) = (part(json!({"alg": "HS256", "typ": "JWT"})), part(json!({"sub": subject})));
    format!("{header}.{claims}.{signature}")
}

/// As lines of five kinds of files.
fn written(kind: &str, value: &str, number: usize) -> (&'static str, String) {
    let name = if kind == "random_password" { "db_password".to_owned() } else { format!("{kind}_{number}") };
    match number % 5 {
        0 => ("settings.env", format!("{}={value}", name.to_uppercase())),
        1 => ("settings.yaml", format!("  {name}: \"{value}\"")),
        2 => ("settings.json", format!("  \"{name}\": \"{value}\",")),
        3 => ("client.py", format!("{name} = '{value}'")),
        _ => ("client.js", format!("const {name} = \"{value}\";")),
    }
}

/// Ids, digests, versions, words: what files are full of.
fn decoy(dice: &mut Dice, number: usize) -> String {
    let mut hex = |length| dice.of(HEX, length);
    match number % 8 {
        0 => format!("id: {}-{}-4{}-a{}-{}", hex(8), hex(4), hex(3), hex(3), hex(12)),
        1 => format!("commit {}", hex(40)),
        2 => format!("  \"checksum\": \"sha256:{}\",", hex(64)),
        3 => format!("import {{ name{number} }} from './module/{number}/index.js';"),
        4 => format!("token = next_token(stream, {number})"),
        5 => "password: { type: string, description: the password of the account }".to_owned(),
        6 => format!("The {number}th line says nothing that is secret to anybody who reads it."),
        _ => format!("integrity sha512-{}==", dice.of(ALNUM, 86)),
    }
}

/// What was planted, by kind, and the lines that are harmless.
struct Planted {
    folder: PathBuf,
    secrets: Vec<(&'static str, Place)>,
    harmless: BTreeSet<Place>,
}

fn plant(folder: PathBuf) -> anyhow::Result<Planted> {
    std::fs::create_dir(&folder)?;
    let mut dice = Dice(20_261_124);
    let mut files: std::collections::BTreeMap<&str, Vec<String>> = std::collections::BTreeMap::new();
    let mut planted = Planted { folder, secrets: Vec::new(), harmless: BTreeSet::new() };
    for number in 0..EACH {
        for (kind, value) in kinds(&mut dice) {
            let (file, line) = written(kind, &value, number);
            let lines = files.entry(file).or_default();
            lines.push(line);
            planted.secrets.push((kind, (PathBuf::from(file), lines.len())));
        }
    }
    for number in 0..DECOYS {
        let lines = files.entry("harmless.txt").or_default();
        lines.push(decoy(&mut dice, number));
        planted.harmless.insert((PathBuf::from("harmless.txt"), lines.len()));
    }
    for (file, lines) in files {
        std::fs::write(planted.folder.join(file), lines.join("\n") + "\n")?;
    }
    Ok(planted)
}

pub(crate) fn compare(work: &Path, rivals: &Rivals) -> anyhow::Result<Value> {
    let planted = plant(work.join("planted"))?;
    let ours = own(&planted.folder)?;
    let theirs = rivals.find(&planted.folder)?;
    let told = |found: &BTreeSet<Place>| {
        let mut by_kind = serde_json::Map::new();
        for (kind, place) in &planted.secrets {
            let sum = by_kind.entry((*kind).to_owned()).or_insert(json!(0));
            *sum = json!(sum.as_u64().unwrap_or(0) + u64::from(found.contains(place)));
        }
        let all = planted.secrets.iter().filter(|(_, place)| found.contains(place)).count();
        json!({"found": all, "false_alarms": planted.harmless.intersection(found).count(), "by_kind": by_kind})
    };
    let mut results = json!({"secrets": planted.secrets.len(), "of_each_kind": EACH, "harmless_lines": DECOYS});
    results["open_cowork"] = told(&ours);
    for (name, found) in &theirs {
        results[*name] = told(found);
    }
    Ok(results)
}

fn own(folder: &Path) -> anyhow::Result<BTreeSet<Place>> {
    let scanner = Scanner::new(Vec::new())?.by_pattern();
    let mut found = BTreeSet::new();
    for path in super::files_below(folder) {
        let bytes = std::fs::read(&path)?;
        let name = path.strip_prefix(folder)?.to_owned();
        for hit in scanner.scan(&bytes).hits {
            let offset = usize::try_from(hit.offset + hit.length / 2)?;
            let line = bytes[..offset.min(bytes.len())].iter().filter(|byte| **byte == b'\n').count() + 1;
            found.insert((name.clone(), line));
        }
    }
    Ok(found)
}

//! The forms in which a value may turn up.
//!
//! Each form is what a common encoder makes of the value *wherever it stands*: for base64 that is the part of the text
//! that doesn't depend on the neighbours, once for each of the three alignments.

use std::collections::BTreeSet;
use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use serde::{Deserialize, Serialize};

/// How a found value was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    Raw,
    /// As in a JSON string, with only what must be escaped escaped.
    Json,
    /// `\u` escapes, of all characters or of those beyond ASCII.
    UnicodeEscaped,
    Html,
    Base64,
    Base64Url,
    Hex,
    Percent,
    Reversed,
}

/// The set that RFC 3986 leaves as it is in every component.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// What browsers' component encoder escapes.
const COMPONENT: &AsciiSet = &UNRESERVED.remove(b'!').remove(b'\'').remove(b'(').remove(b')').remove(b'*');
/// What encoders of whole paths escape.
const PATH: &AsciiSet = &UNRESERVED.remove(b'/');
/// What encoders of forms escape.
const FORM: &AsciiSet = &UNRESERVED.remove(b'*').add(b'~');
/// What cautious encoders escape.
const CAUTIOUS: &AsciiSet = &UNRESERVED.add(b'~');
/// What lenient encoders of paths and queries escape: they leave the delimiters.
const LENIENT: &AsciiSet = &PATH.remove(b':').remove(b'@').remove(b'+').remove(b',').remove(b'=');

/// Every form of `value`, each once.
pub(crate) fn forms(value: &[u8]) -> Vec<(Encoding, Vec<u8>)> {
    let mut forms = Forms::default();
    forms.add(Encoding::Raw, value.to_vec());
    if let Ok(text) = std::str::from_utf8(value) {
        add_text_forms(&mut forms, text);
    }
    for shift in 0..3 {
        forms.add(Encoding::Base64, base64_core(&STANDARD_NO_PAD, value, shift));
        forms.add(Encoding::Base64Url, base64_core(&URL_SAFE_NO_PAD, value, shift));
    }
    forms.add(Encoding::Hex, hex::encode(value).into_bytes());
    forms.add(Encoding::Hex, hex::encode_upper(value).into_bytes());
    add_percent_forms(&mut forms, value);
    forms.add(Encoding::Reversed, value.iter().rev().copied().collect());
    forms.list
}

#[derive(Default)]
struct Forms {
    seen: BTreeSet<Vec<u8>>,
    list: Vec<(Encoding, Vec<u8>)>,
}

impl Forms {
    fn add(&mut self, encoding: Encoding, form: Vec<u8>) {
        if self.seen.insert(form.clone()) {
            self.list.push((encoding, form));
        }
    }
}

fn add_text_forms(forms: &mut Forms, text: &str) {
    let json = json_escaped(text);
    forms.add(Encoding::Json, json.clone().into_bytes());
    forms.add(Encoding::Json, json.replace('/', "\\/").into_bytes());
    forms.add(Encoding::UnicodeEscaped, unicode_escaped(text, |_| true).into_bytes());
    forms.add(
        Encoding::UnicodeEscaped,
        unicode_escaped(text, |_| true).to_uppercase().replace("\\U", "\\u").into_bytes(),
    );
    forms.add(Encoding::UnicodeEscaped, unicode_escaped(&json, |unit| unit > 0x7e).into_bytes());
    // Encoders that write JSON into HTML escape these five, too.
    let for_html = |unit: u16| unit > 0x7e || [b'<', b'>', b'&', b'\'', b'+'].map(u16::from).contains(&unit);
    forms.add(Encoding::UnicodeEscaped, unicode_escaped(&json, for_html).into_bytes());
    let html = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    forms.add(Encoding::Html, html.replace('\'', "&#39;").into_bytes());
    forms.add(Encoding::Html, html.replace('\'', "&#x27;").into_bytes());
    forms.add(Encoding::Html, html.into_bytes());
}

fn json_escaped(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// Beyond the first plane a character is two units, as JSON wants it.
fn unicode_escaped(text: &str, escape: impl Fn(u16) -> bool) -> String {
    let mut out = String::new();
    let mut units = [0; 2];
    for character in text.chars() {
        let units = character.encode_utf16(&mut units);
        if !units.iter().any(|unit| escape(*unit)) {
            out.push(character);
            continue;
        }
        for unit in units {
            write!(out, "\\u{unit:04x}").expect("a string takes everything");
        }
    }
    out
}

fn base64_core(engine: &impl Engine, value: &[u8], shift: usize) -> Vec<u8> {
    let text = engine.encode([&[0; 2][..shift], value].concat());
    let first = (shift * 8).div_ceil(6);
    let whole = (shift + value.len()) * 8 / 6;
    text.as_bytes()[first..whole].to_vec()
}

fn add_percent_forms(forms: &mut Forms, value: &[u8]) {
    let all: String = value.iter().fold(String::new(), |mut out, byte| {
        write!(out, "%{byte:02X}").expect("a string takes everything");
        out
    });
    let sets = [UNRESERVED, COMPONENT, FORM, CAUTIOUS, PATH, LENIENT].map(|set| percent_encode(value, set).to_string());
    for text in std::iter::once(all).chain(sets) {
        for text in [text.replace("%20", "+"), text] {
            forms.add(Encoding::Percent, lower_escapes(&text));
            forms.add(Encoding::Percent, text.into_bytes());
        }
    }
}

fn lower_escapes(text: &str) -> Vec<u8> {
    let mut out = text.as_bytes().to_vec();
    let escapes: Vec<usize> = text.match_indices('%').map(|(at, _)| at).collect();
    for at in escapes {
        out[at..at + 3].make_ascii_lowercase();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn has(value: &str, encoding: Encoding, form: &str) {
        let forms = forms(value.as_bytes());
        assert!(forms.iter().any(|(is, found)| (*is, found.as_slice()) == (encoding, form.as_bytes())), "{form}");
    }

    #[test]
    fn the_forms_are_what_common_encoders_make() {
        has("a\"b/c\n", Encoding::Json, "a\\\"b/c\\n");
        has("a\"b/c\n", Encoding::Json, "a\\\"b\\/c\\n");
        has("aé😀", Encoding::UnicodeEscaped, "a\\u00e9\\ud83d\\ude00");
        has("ok", Encoding::UnicodeEscaped, "\\u006f\\u006b");
        has("ok", Encoding::UnicodeEscaped, "\\u006F\\u006B");
        has("a&b", Encoding::UnicodeEscaped, "a\\u0026b");
        has("a&b", Encoding::Html, "a&amp;b");
        has("a b/c@d", Encoding::Percent, "a%20b%2Fc%40d");
        has("a b/c@d", Encoding::Percent, "a+b%2fc%40d");
        has("a b/c@d", Encoding::Percent, "a%20b/c%40d");
        has("a b", Encoding::Percent, "%61%20%62");
        has("ok", Encoding::Hex, "6F6B");
        has("ok", Encoding::Reversed, "ko");
    }
}

//! How a value may be written, and the forms that are looked for as they stand.
//!
//! A form is what an encoder makes of the value *wherever it stands*: for base64 that is the part of the text that
//! doesn't depend on the neighbours, once for each of the three alignments.
//!
//! Not here: encodings with many spellings of one value, such as percent-encoding (`escapes`), and whatever has to be
//! taken apart to be looked into (`runs`, `members`).

use std::collections::BTreeSet;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

/// One step of how a found value was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    Raw,
    /// Backslash escapes of JSON and most languages, but for those by number.
    Json,
    /// Backslash escapes by number: `\u0041`, `\x41`.
    UnicodeEscaped,
    Html,
    Base64,
    Base64Url,
    Hex,
    Percent,
    Reversed,
    /// Two bytes for each unit, in either order.
    Utf16,
    Gzip,
    Zlib,
    /// Without any header.
    Deflate,
    Zip,
    Zstd,
}

impl Encoding {
    /// The name in JSON and in what people read.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Json => "json",
            Self::UnicodeEscaped => "unicode_escaped",
            Self::Html => "html",
            Self::Base64 => "base64",
            Self::Base64Url => "base64_url",
            Self::Hex => "hex",
            Self::Percent => "percent",
            Self::Reversed => "reversed",
            Self::Utf16 => "utf16",
            Self::Gzip => "gzip",
            Self::Zlib => "zlib",
            Self::Deflate => "deflate",
            Self::Zip => "zip",
            Self::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// A value as it may stand in a text.
pub(crate) struct Form {
    /// From the outermost step to the innermost; never empty.
    pub(crate) steps: Vec<Encoding>,
    pub(crate) text: Vec<u8>,
}

/// Every form of `value`, each once.
pub(crate) fn forms(value: &[u8]) -> Vec<Form> {
    let mut forms = Forms::default();
    forms.add(Encoding::Raw, value.to_vec());
    if value.contains(&b' ') {
        // Encoders of forms write it so, and escape the rest, which is undone before this is looked for.
        forms.add(Encoding::Percent, value.iter().map(|byte| if *byte == b' ' { b'+' } else { *byte }).collect());
    }
    for shift in 0..3 {
        forms.add(Encoding::Base64, base64_core(&STANDARD_NO_PAD, value, shift));
        forms.add(Encoding::Base64Url, base64_core(&URL_SAFE_NO_PAD, value, shift));
    }
    forms.add(Encoding::Hex, hex::encode(value).into_bytes());
    forms.add(Encoding::Hex, hex::encode_upper(value).into_bytes());
    if let Ok(text) = std::str::from_utf8(value) {
        forms.add(Encoding::Utf16, text.encode_utf16().flat_map(u16::to_le_bytes).collect());
        forms.add(Encoding::Utf16, text.encode_utf16().flat_map(u16::to_be_bytes).collect());
    }
    forms.list
}

#[derive(Default)]
struct Forms {
    seen: BTreeSet<Vec<u8>>,
    list: Vec<Form>,
}

impl Forms {
    fn add(&mut self, encoding: Encoding, text: Vec<u8>) {
        let backwards: Vec<u8> = text.iter().rev().copied().collect();
        let inner = (encoding != Encoding::Raw).then_some(encoding);
        self.insert(vec![encoding], text);
        self.insert(std::iter::once(Encoding::Reversed).chain(inner).collect(), backwards);
    }

    fn insert(&mut self, steps: Vec<Encoding>, text: Vec<u8>) {
        if self.seen.insert(text.clone()) {
            self.list.push(Form { steps, text });
        }
    }
}

fn base64_core(engine: &impl Engine, value: &[u8], shift: usize) -> Vec<u8> {
    let text = engine.encode([&[0; 2][..shift], value].concat());
    let first = (shift * 8).div_ceil(6);
    let whole = (shift + value.len()) * 8 / 6;
    text.as_bytes()[first..whole].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn has(value: &str, steps: &[Encoding], form: &str) {
        let forms = forms(value.as_bytes());
        assert!(forms.iter().any(|found| found.steps == steps && found.text == form.as_bytes()), "{form}");
    }

    #[test]
    fn the_forms_are_what_common_encoders_make() {
        has("ok", &[Encoding::Raw], "ok");
        has("a b", &[Encoding::Percent], "a+b");
        has("ok", &[Encoding::Hex], "6F6B");
        has("ok", &[Encoding::Reversed], "ko");
        has("ok", &[Encoding::Reversed, Encoding::Hex], "b6f6");
        has("abc", &[Encoding::Base64], "YWJj");
        has("abc", &[Encoding::Base64], "hYm");
        has("ok", &[Encoding::Utf16], "o\0k\0");
    }

    #[test]
    fn a_step_has_one_name_everywhere() {
        for step in [Encoding::Raw, Encoding::UnicodeEscaped, Encoding::Base64Url, Encoding::Utf16, Encoding::Zstd] {
            assert_eq!(serde_json::to_value(step).unwrap(), step.as_str());
        }
    }
}

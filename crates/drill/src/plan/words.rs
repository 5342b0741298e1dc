//! Words of a plan that are checked where they are read, so that whoever holds one needs no second look.

use serde::{Deserialize, Deserializer, de};

/// Longer text than this in a plan is a mistake.
const TEXT_MAX: usize = 2_000;

macro_rules! word {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                let check: fn(&str) -> Result<(), &'static str> = $check;
                check(&text).map_err(de::Error::custom)?;
                Ok(Self(text))
            }
        }
    };
}

word!(
    /// A text for people on one line: a name, a reason.
    Name,
    |text| match text.trim() {
        "" => Err("this text is empty"),
        _ if text.len() > TEXT_MAX => Err("this text is too long"),
        _ if text.chars().any(char::is_control) => Err("this text has a control character in it"),
        _ => Ok(()),
    }
);

word!(
    /// Where a secret is: `env:NAME` or `file:PATH`. The text is not repeated in an error: it may be the secret itself.
    Reference,
    |text| match text.split_once(':') {
        Some(("env", name)) if !name.is_empty() && !name.contains(['=', '\0']) => Ok(()),
        Some(("file", path)) if !path.is_empty() => Ok(()),
        _ => Err("a secret is named by its reference, env:NAME or file:PATH; this text is neither"),
    }
);

word!(
    /// A command for `sh -c`.
    Shell,
    |text| match text.trim() {
        "" => Err("this command is empty"),
        _ if text.contains('\0') => Err("this command has a NUL in it"),
        _ => Ok(()),
    }
);

word!(
    /// One statement that gives one whole number.
    Sql,
    |text| match text.trim().to_ascii_lowercase() {
        text if text.len() > TEXT_MAX => Err("this statement is too long"),
        text if text.starts_with("select") || text.starts_with("with") => Ok(()),
        _ => Err("this statement is not a SELECT"),
    }
);

impl Name {
    /// One that this program knows itself.
    pub(super) fn known(text: &'static str) -> Self {
        Self(text.to_owned())
    }
}

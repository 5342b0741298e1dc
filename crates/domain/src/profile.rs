//! Names of profiles: presets that an org gives its sessions and workflows.
//!
//! Not here: what a profile says (`store::profile`).

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::tenancy::UnknownWord;

/// Characters of a name.
pub const PROFILE_CHARS: usize = 50;

/// Lower-case letters, digits and hyphens, a letter first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProfileName(String);

impl ProfileName {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProfileName {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let plain = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        let begins = text.starts_with(|first: char| first.is_ascii_lowercase());
        let fits = plain && begins && text.len() <= PROFILE_CHARS;
        fits.then(|| Self(text.to_owned())).ok_or_else(|| UnknownWord::new(text))
    }
}

impl TryFrom<String> for ProfileName {
    type Error = UnknownWord;

    fn try_from(text: String) -> Result<Self, UnknownWord> {
        text.parse()
    }
}

impl From<ProfileName> for String {
    fn from(name: ProfileName) -> Self {
        name.0
    }
}

#[cfg(feature = "openapi")]
mod schema {
    use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
    use utoipa::{PartialSchema, ToSchema};

    use super::{PROFILE_CHARS, ProfileName};

    impl PartialSchema for ProfileName {
        fn schema() -> RefOr<Schema> {
            let name = ObjectBuilder::new().schema_type(Type::String).max_length(Some(PROFILE_CHARS));
            name.pattern(Some("^[a-z][a-z0-9-]*$")).examples(["research"]).build().into()
        }
    }

    impl ToSchema for ProfileName {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_lower_case_letters_digits_and_hyphens() {
        for (text, fits) in
            [("research", true), ("a-1", true), ("", false), ("1a", false), ("A", false), ("a b", false)]
        {
            assert_eq!(text.parse::<ProfileName>().is_ok(), fits, "{text:?}");
        }
        assert!("a".repeat(PROFILE_CHARS + 1).parse::<ProfileName>().is_err());
    }
}

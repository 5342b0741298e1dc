//! What must never be seen outside: the seven classes of the restore report's last row.

use std::fmt;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CanaryClass {
    ApiToken,
    ByokPlaintext,
    OauthToken,
    ChannelCredential,
    SignedUrlQuery,
    Email,
    HostPath,
}

impl CanaryClass {
    /// All seven, in the report's order.
    pub const ALL: [Self; 7] = [
        Self::ApiToken,
        Self::ByokPlaintext,
        Self::OauthToken,
        Self::ChannelCredential,
        Self::SignedUrlQuery,
        Self::Email,
        Self::HostPath,
    ];

    /// The name in JSON and in redacted text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ApiToken => "api_token",
            Self::ByokPlaintext => "byok_plaintext",
            Self::OauthToken => "oauth_token",
            Self::ChannelCredential => "channel_credential",
            Self::SignedUrlQuery => "signed_url_query",
            Self::Email => "email",
            Self::HostPath => "host_path",
        }
    }
}

impl fmt::Display for CanaryClass {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_has_one_name_everywhere() {
        for class in CanaryClass::ALL {
            assert_eq!(serde_json::to_value(class).unwrap(), class.as_str());
        }
    }
}

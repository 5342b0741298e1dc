//! The configured channel secret, with its version.

use ids::ChannelId;
use secrets::{SecretBytes, derive_channel_secret};

/// Signs and verifies for the channels that were made under its version, and for no others: a signature under another
/// secret would be refused by the far side, or believed from a stranger.
#[derive(Debug, Clone)]
pub struct ChannelSecret {
    version: String,
    secret: SecretBytes,
}

impl ChannelSecret {
    #[must_use]
    pub fn new(version: impl Into<String>, secret: SecretBytes) -> Self {
        Self { version: version.into(), secret }
    }

    /// The signing secret of a channel that was made under `version`; `None`: that is not this one.
    pub(crate) fn signing_secret(&self, channel: ChannelId, version: &str) -> Option<String> {
        (self.version == version).then(|| derive_channel_secret(&self.secret, channel))
    }
}

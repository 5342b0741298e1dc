//! The configured channel secret, with its version.

use ids::{ChannelId, InteractionId, TriggerId};
use secrets::{SecretBytes, derive_channel_secret, derive_interaction_token, derive_trigger_secret};
use store::TriggerSecret;

/// Signs and verifies for the channels and triggers whose secrets were given out under its version, and for no others: a signature
/// under another secret would be refused by the far side, or believed from a stranger.
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
    pub(crate) fn of_channel(&self, channel: ChannelId, version: &str) -> Option<String> {
        (self.version == version).then(|| derive_channel_secret(&self.secret, channel))
    }

    /// The signing secret that a channel of this id has, if there is one and it was made under our version.
    pub(crate) fn of_any_channel(&self, channel: ChannelId) -> String {
        derive_channel_secret(&self.secret, channel)
    }

    /// The signing secret of a trigger that is in force; `None`: it was given out under another version.
    pub(crate) fn of_trigger(&self, trigger: TriggerId, secret: &TriggerSecret) -> Option<String> {
        (self.version == secret.version).then(|| derive_trigger_secret(&self.secret, trigger, secret.number))
    }

    /// The token that decides a question. Under another version it is another one, which decides nothing.
    pub(crate) fn of_interaction(&self, interaction: InteractionId) -> String {
        derive_interaction_token(&self.secret, interaction)
    }
}

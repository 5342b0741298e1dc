//! The signing secrets of what takes signed messages: of channels, in both directions, and of triggers that are called.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use ids::{ChannelId, InteractionId, TriggerId};
use sha2::{Digest as _, Sha256};

use crate::value::SecretBytes;

/// The secret that signs and verifies a channel's messages, in the form of Standard Webhooks: `whsec_` and base64.
///
/// It is computed from the configured channel secret and never stored, so a restored system signs as before and a
/// database alone signs nothing. Another channel secret means other signing secrets for all channels.
#[must_use]
pub fn derive_channel_secret(channel_secret: &SecretBytes, channel: ChannelId) -> String {
    derived(channel_secret, &[b"cowork channel v1", channel.as_uuid().as_bytes()])
}

/// The same for calls of a trigger. `number` is the trigger's, from 1: the next one gives it another secret.
#[must_use]
pub fn derive_trigger_secret(channel_secret: &SecretBytes, trigger: TriggerId, number: i32) -> String {
    derived(channel_secret, &[b"cowork trigger v1", trigger.as_uuid().as_bytes(), &number.to_be_bytes()])
}

/// The token by which somebody in a chat decides a question of an agent: the prefix `cwi_` and base64 for URLs.
///
/// Computed like a signing secret, from an id that is given out once, so no row and no backup holds one; and from another text
/// than those, so that whoever signs for a channel can't make one.
#[must_use]
pub fn derive_interaction_token(channel_secret: &SecretBytes, interaction: InteractionId) -> String {
    let bytes = keyed(channel_secret, &[b"cowork interaction v1", interaction.as_uuid().as_bytes()]);
    format!("cwi_{}", URL_SAFE_NO_PAD.encode(bytes))
}

/// What is stored of a token.
#[must_use]
pub fn interaction_token_hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn derived(channel_secret: &SecretBytes, parts: &[&[u8]]) -> String {
    format!("whsec_{}", STANDARD.encode(keyed(channel_secret, parts)))
}

/// The parts have lengths of their own, so they may be run together.
fn keyed(channel_secret: &SecretBytes, parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(channel_secret.expose()).expect("HMAC takes a key of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SecretBytes {
        text.as_bytes().to_vec().into()
    }

    #[test]
    fn a_channel_keeps_its_secret_and_no_two_share_one() {
        let [one, two]: [ChannelId; 2] = [clock::Sources::system().id(), clock::Sources::system().id()];
        let derived = derive_channel_secret(&secret("a"), one);
        assert_eq!(derived, derive_channel_secret(&secret("a"), one));
        assert_ne!(derived, derive_channel_secret(&secret("a"), two));
        assert_ne!(derived, derive_channel_secret(&secret("b"), one));
        assert_eq!(STANDARD.decode(derived.strip_prefix("whsec_").unwrap()).unwrap().len(), 32);
    }

    #[test]
    fn a_trigger_has_another_secret_for_each_number_and_shares_none_with_a_channel() {
        let trigger: TriggerId = clock::Sources::system().id();
        let derived = derive_trigger_secret(&secret("a"), trigger, 1);
        assert_eq!(derived, derive_trigger_secret(&secret("a"), trigger, 1));
        assert_ne!(derived, derive_trigger_secret(&secret("a"), trigger, 2));
        assert_ne!(derived, derive_trigger_secret(&secret("b"), trigger, 1));
        assert_ne!(derived, derive_channel_secret(&secret("a"), (*trigger.as_uuid()).into()));
    }

    #[test]
    fn a_question_has_a_token_of_its_own_that_no_channels_secret_gives() {
        let [one, two]: [InteractionId; 2] = [clock::Sources::system().id(), clock::Sources::system().id()];
        let token = derive_interaction_token(&secret("a"), one);
        assert_eq!(token, derive_interaction_token(&secret("a"), one));
        assert_ne!(token, derive_interaction_token(&secret("a"), two));
        let signing = derive_channel_secret(&secret("a"), (*one.as_uuid()).into());
        assert_ne!(token, derive_interaction_token(&signing.into_bytes().into(), one));
        assert_eq!(URL_SAFE_NO_PAD.decode(token.strip_prefix("cwi_").unwrap()).unwrap().len(), 32);
    }
}

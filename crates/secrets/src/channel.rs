//! The signing secrets of what takes signed messages: of channels, in both directions, and of triggers that are called.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use ids::{ChannelId, TriggerId};
use sha2::Sha256;

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

/// The parts have lengths of their own, so they may be run together.
fn derived(channel_secret: &SecretBytes, parts: &[&[u8]]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(channel_secret.expose()).expect("HMAC takes a key of any length");
    parts.iter().for_each(|part| mac.update(part));
    format!("whsec_{}", STANDARD.encode(mac.finalize().into_bytes()))
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
}

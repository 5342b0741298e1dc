//! The signing secret of a channel.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use ids::ChannelId;
use sha2::Sha256;

use crate::value::SecretBytes;

/// The secret that signs and verifies a channel's messages, in the form of Standard Webhooks: `whsec_` and base64.
///
/// It is computed from the configured channel secret and never stored, so a restored system signs as before and a
/// database alone signs nothing. Another channel secret means other signing secrets for all channels.
#[must_use]
pub fn derive_channel_secret(channel_secret: &SecretBytes, channel: ChannelId) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(channel_secret.expose()).expect("HMAC takes a key of any length");
    mac.update(b"cowork channel v1");
    mac.update(channel.as_uuid().as_bytes());
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
}

//! Envelope encryption: a record under a data key of its own, the data key under the KMS.
//!
//! Both layers are bound to the record by `aad`, the same for sealing and opening: `byok_keys/{org}/{byok_key_id}`. A
//! ciphertext that was moved to another row, or paired with another row's wrapped key, doesn't open.
//!
//! Not guaranteed: that a record is the newest. Who can write the row can put an older envelope of the same record back.

use clock::Sources;

use crate::aead;
use crate::key::DataKey;
use crate::kms::{Kms, KmsError, Wrapped};
use crate::value::SecretBytes;

/// A sealed record, as a row keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    pub ciphertext: Vec<u8>,
    pub wrapped_key: Vec<u8>,
    /// The version of the KMS key that wrapped the data key.
    pub key_version: String,
}

/// Why an envelope doesn't open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("its data key does not unwrap")]
    Key(#[source] KmsError),
    #[error("the ciphertext was changed, or belongs to another record")]
    Ciphertext,
}

/// Seals `plaintext` under a fresh data key.
///
/// # Errors
/// If the KMS doesn't wrap.
pub async fn seal(kms: &dyn Kms, sources: &Sources, plaintext: &[u8], aad: &[u8]) -> Result<Envelope, KmsError> {
    let key = DataKey::generate(sources);
    let ciphertext = aead::seal(&key, sources, plaintext, &bound(aad));
    let Wrapped { bytes, key_version } = kms.wrap(&key, aad).await?;
    Ok(Envelope { ciphertext, wrapped_key: bytes, key_version })
}

/// Opens what [`seal`] made with the same `aad`.
///
/// # Errors
/// If the data key doesn't unwrap, or the ciphertext doesn't open under it.
pub async fn open(kms: &dyn Kms, envelope: &Envelope, aad: &[u8]) -> Result<SecretBytes, OpenError> {
    let wrapped = Wrapped { bytes: envelope.wrapped_key.clone(), key_version: envelope.key_version.clone() };
    let key = kms.unwrap(&wrapped, aad).await.map_err(OpenError::Key)?;
    aead::open(&key, &envelope.ciphertext, &bound(aad)).map_err(|_| OpenError::Ciphertext)
}

fn bound(aad: &[u8]) -> Vec<u8> {
    [b"cowork envelope v1\0".as_slice(), aad].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local_kms::LocalKms;

    fn kms(version: &str, fill: u8) -> LocalKms {
        let key = hex::encode([fill; 32]).into_bytes().into();
        LocalKms::new((version.to_owned(), key), Vec::new(), Sources::system()).unwrap()
    }

    async fn sealed(plaintext: &[u8], aad: &[u8]) -> Envelope {
        seal(&kms("1", 1), &Sources::system(), plaintext, aad).await.unwrap()
    }

    #[tokio::test]
    async fn what_was_sealed_opens() {
        let envelope = sealed(b"sk-user", b"a").await;
        assert_eq!(open(&kms("1", 1), &envelope, b"a").await.unwrap().expose(), b"sk-user");
        assert_ne!(envelope, sealed(b"sk-user", b"a").await, "equal secrets are not seen to be equal");
    }

    #[tokio::test]
    async fn any_changed_byte_is_noticed() {
        let kms = kms("1", 1);
        let envelope = sealed(b"sk-user", b"a").await;
        for at in 0..envelope.ciphertext.len() {
            let mut changed = envelope.clone();
            changed.ciphertext[at] ^= 1;
            assert!(matches!(open(&kms, &changed, b"a").await, Err(OpenError::Ciphertext)), "byte {at}");
        }
        for at in 0..envelope.wrapped_key.len() {
            let mut changed = envelope.clone();
            changed.wrapped_key[at] ^= 1;
            assert!(matches!(open(&kms, &changed, b"a").await, Err(OpenError::Key(_))), "key byte {at}");
        }
    }

    #[tokio::test]
    async fn a_truncated_envelope_is_an_error_not_a_panic() {
        let envelope = sealed(b"x", b"a").await;
        for length in 0..envelope.ciphertext.len() {
            let ciphertext = envelope.ciphertext[..length].to_vec();
            assert!(open(&kms("1", 1), &Envelope { ciphertext, ..envelope.clone() }, b"a").await.is_err());
        }
    }

    #[tokio::test]
    async fn records_that_changed_places_do_not_open() {
        let (mine, yours) = (sealed(b"mine", b"a").await, sealed(b"yours", b"b").await);
        assert!(open(&kms("1", 1), &mine, b"b").await.is_err());
        let crossed = Envelope { ciphertext: mine.ciphertext, ..yours };
        assert!(matches!(open(&kms("1", 1), &crossed, b"b").await, Err(OpenError::Ciphertext)));
    }

    #[tokio::test]
    async fn a_replaced_key_opens_nothing() {
        let envelope = sealed(b"sk-user", b"a").await;
        let error = open(&kms("1", 2), &envelope, b"a").await.unwrap_err();
        assert!(matches!(error, OpenError::Key(KmsError::Refused { .. })));
    }
}

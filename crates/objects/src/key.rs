//! Names of objects, and the keys that a checkpoint is sealed under.
//!
//! Names begin with the org, then the generation: a restored system can't repeat a name that the lost one used.
//!
//! Not here: wrapping an org's data key (`secrets`).

use aes_gcm::aead::{Aead, KeyInit as _, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use hmac::{Hmac, Mac as _};
use ids::{ArtifactId, CheckpointId, OrgId, ProjectSourceId, SessionId, UploadId};
use sha2::Sha256;

/// Where new objects of an org go in this generation.
#[derive(Debug, Clone, Copy)]
pub struct ObjectKeys {
    pub org: OrgId,
    pub generation: i64,
}

impl ObjectKeys {
    #[must_use]
    pub fn artifact(&self, session: SessionId, artifact: ArtifactId) -> String {
        format!("{}/artifacts/{session}/{artifact}", self.prefix())
    }

    /// Named by its content, too: a part that is sent again with another one is another object.
    #[must_use]
    pub fn upload_part(&self, upload: UploadId, part: i32, sha256: &[u8; 32]) -> String {
        format!("{}/uploads/{upload}/{part}-{}", self.prefix(), hex::encode(sha256))
    }

    #[must_use]
    pub fn project_source(&self, source: ProjectSourceId) -> String {
        format!("{}/project-sources/{source}", self.prefix())
    }

    #[must_use]
    pub fn manifest(&self, session: SessionId, checkpoint: CheckpointId) -> String {
        format!("{}/checkpoints/{session}/{checkpoint}.manifest", self.prefix())
    }

    /// `name`: see [`CheckpointKey`].
    #[must_use]
    pub(crate) fn checkpoint_file(&self, name: &[u8; 32]) -> String {
        format!("{}/checkpoint-files/{}", self.prefix(), hex::encode(name))
    }

    fn prefix(&self) -> String {
        format!("orgs/{}/g{}", self.org, self.generation)
    }
}

/// What an org's checkpoints are sealed under: subkeys of its data key.
///
/// Name and nonce of a piece of content are keyed hashes of that content. So equal content of one org becomes one
/// object with the same bytes, whoever saves it, and a nonce is used twice only for the same plaintext. The price:
/// who sees the objects sees which sessions of an org share content, but not what it is.
#[derive(Clone)]
pub struct CheckpointKey {
    naming: Hmac<Sha256>,
    nonces: Hmac<Sha256>,
    sealing: Aes256Gcm,
}

impl std::fmt::Debug for CheckpointKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("CheckpointKey")
    }
}

impl CheckpointKey {
    /// From an org's data key.
    #[must_use]
    pub fn new(data_key: &[u8; 32]) -> Self {
        let subkey = |purpose: &str| keyed(&mac(data_key), &[b"cowork checkpoint v1 ", purpose.as_bytes()]);
        Self {
            naming: mac(&subkey("naming")),
            nonces: mac(&subkey("nonces")),
            sealing: Aes256Gcm::new(&subkey("sealing").into()),
        }
    }

    pub(crate) fn name(&self, content: &[u8]) -> [u8; 32] {
        keyed(&self.naming, &[content])
    }

    /// Nonce, then ciphertext with tag. `aad` says what the content is, and must be said again to open it.
    pub(crate) fn seal(&self, aad: &[u8], content: &[u8]) -> Vec<u8> {
        let aad_length = (aad.len() as u64).to_be_bytes();
        let hash = keyed(&self.nonces, &[&aad_length, aad, content]);
        let nonce: [u8; NONCE] = hash[..NONCE].try_into().expect("a nonce is shorter than a hash");
        let sealed = self.sealing.encrypt(&Nonce::from(nonce), Payload { msg: content, aad });
        [&nonce[..], &sealed.expect("content fits one message of the cipher")].concat()
    }

    /// `None`: another key, another `aad`, or changed bytes.
    pub(crate) fn open(&self, aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE>()?;
        self.sealing.decrypt(&Nonce::from(*nonce), Payload { msg: sealed, aad }).ok()
    }
}

const NONCE: usize = 12;

fn mac(key: &[u8; 32]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("a MAC takes a key of any length")
}

fn keyed(mac: &Hmac<Sha256>, parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = mac.clone();
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_content_becomes_equal_bytes_and_only_its_own_label_opens_it() {
        let key = CheckpointKey::new(&[7; 32]);
        let sealed = key.seal(b"label", b"content");
        assert_eq!(sealed, key.seal(b"label", b"content"));
        assert_eq!(key.open(b"label", &sealed).unwrap(), b"content");
        assert_eq!(key.open(b"other", &sealed), None);
        assert_eq!(CheckpointKey::new(&[8; 32]).open(b"label", &sealed), None);
        assert_eq!(key.open(b"label", &sealed[..5]), None);
    }
}

//! AES-256-GCM with the nonce in front of the ciphertext.
//!
//! Nonces are random: one key must not seal more than 2^32 messages. A data key seals one record, and a KMS key wraps
//! one data key for each, so neither comes near.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use clock::Sources;

use crate::key::DataKey;
use crate::value::SecretBytes;

const NONCE: usize = 12;

/// The ciphertext doesn't open: it was changed, belongs to another record, or was made under another key. Which of the
/// three can't be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused;

pub(crate) fn seal(key: &DataKey, sources: &Sources, plaintext: &[u8], aad: &[u8]) -> Vec<u8> {
    let nonce: [u8; NONCE] = sources.bytes();
    let payload = Payload { msg: plaintext, aad };
    let ciphertext = cipher(key).encrypt(&Nonce::from(nonce), payload).expect("far below the cipher's 64 GB");
    [nonce.as_slice(), &ciphertext].concat()
}

pub(crate) fn open(key: &DataKey, sealed: &[u8], aad: &[u8]) -> Result<SecretBytes, Refused> {
    let (nonce, msg) = sealed.split_first_chunk::<NONCE>().ok_or(Refused)?;
    let payload = Payload { msg, aad };
    cipher(key).decrypt(&Nonce::from(*nonce), payload).map(SecretBytes::new).map_err(|_| Refused)
}

fn cipher(key: &DataKey) -> Aes256Gcm {
    Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key.expose()))
}

//! The envelope: DSSE 1.0 with one signature (<https://github.com/secure-systems-lab/dsse>).
//!
//! What is signed is the payload's type and bytes, each with its length before it, so nothing has to be brought into a
//! canonical form first. The file itself has exactly one form: an envelope that is not written as [`Envelope::render`]
//! writes it is refused, so that no byte of it can be changed unseen, not even a blank.
//!
//! Not here: what the payload says (`statement`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::key::{PublicKey, SigningKey, is_label};

/// The payload's type: an in-toto statement.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// How large an envelope may be, in bytes. Ours have a few hundred bytes per file of the bundle.
pub const ENVELOPE_BYTES: usize = 16 << 20;

/// Signed bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    pub payload: Vec<u8>,
    pub key_id: String,
    signature: [u8; 64],
}

/// Why a file is no envelope.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    #[error("it is larger than {ENVELOPE_BYTES} bytes")]
    TooLarge,
    #[error("it is not a DSSE envelope in JSON")]
    Format(#[source] serde_json::Error),
    #[error("its payload has the type {0:?} instead of {PAYLOAD_TYPE}")]
    PayloadType(String),
    #[error("it has {0} signatures instead of one")]
    Signatures(usize),
    #[error("its payload or its signature is not base64 of the right length")]
    Base64,
    #[error("its key id is not a label")]
    KeyId,
    #[error("it is not written in its one form: something was added, removed or rearranged")]
    Form,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    payload: String,
    payload_type: String,
    signatures: Vec<FileSignature>,
}

#[derive(Serialize, Deserialize)]
struct FileSignature {
    keyid: String,
    sig: String,
}

impl Envelope {
    #[must_use]
    pub fn sign(payload: Vec<u8>, key: &SigningKey) -> Self {
        let signature = key.sign(&pre_authentication(&payload));
        Self { payload, key_id: key.id().to_owned(), signature }
    }

    /// Reads an envelope. Whether its signature is good says [`Envelope::signed_by`].
    ///
    /// # Errors
    /// If it is none, or not in its one form.
    pub fn parse(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        if bytes.len() > ENVELOPE_BYTES {
            return Err(EnvelopeError::TooLarge);
        }
        let file: File = serde_json::from_slice(bytes).map_err(EnvelopeError::Format)?;
        if file.payload_type != PAYLOAD_TYPE {
            return Err(EnvelopeError::PayloadType(file.payload_type.chars().take(100).collect()));
        }
        let [signature] = file.signatures.as_slice() else {
            return Err(EnvelopeError::Signatures(file.signatures.len()));
        };
        if !is_label(&signature.keyid) {
            return Err(EnvelopeError::KeyId);
        }
        let decoded = |text: &str| STANDARD.decode(text).map_err(|_| EnvelopeError::Base64);
        let envelope = Self {
            payload: decoded(&file.payload)?,
            key_id: signature.keyid.clone(),
            signature: decoded(&signature.sig)?.try_into().map_err(|_| EnvelopeError::Base64)?,
        };
        if envelope.render() == bytes { Ok(envelope) } else { Err(EnvelopeError::Form) }
    }

    /// The envelope as it stands in a file: one line.
    #[must_use]
    pub fn render(&self) -> Vec<u8> {
        let signature = FileSignature { keyid: self.key_id.clone(), sig: STANDARD.encode(self.signature) };
        let file = File {
            payload: STANDARD.encode(&self.payload),
            payload_type: PAYLOAD_TYPE.to_owned(),
            signatures: vec![signature],
        };
        let mut bytes = serde_json::to_vec(&file).expect("text is JSON");
        bytes.push(b'\n');
        bytes
    }

    /// Whether the holder of the key signed this payload.
    #[must_use]
    pub fn signed_by(&self, key: &PublicKey) -> bool {
        key.has_signed(&pre_authentication(&self.payload), &self.signature)
    }
}

/// DSSE's PAE: `DSSEv1 LENGTH TYPE LENGTH PAYLOAD`.
fn pre_authentication(payload: &[u8]) -> Vec<u8> {
    let mut message = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), payload.len()).into_bytes();
    message.extend_from_slice(payload);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_seed(&[7; 32])
    }

    fn envelope() -> Envelope {
        Envelope::sign(br#"{"_type":"https://in-toto.io/Statement/v1"}"#.to_vec(), &key())
    }

    #[test]
    fn what_is_signed_is_the_type_and_the_payload_with_their_lengths() {
        assert_eq!(pre_authentication(b"hello"), b"DSSEv1 28 application/vnd.in-toto+json 5 hello");
    }

    #[test]
    fn an_envelope_reads_back_and_only_its_key_opens_it() {
        let read = Envelope::parse(&envelope().render()).unwrap();
        assert_eq!(read, envelope());
        assert!(read.signed_by(&key().public()));
        assert!(!read.signed_by(&SigningKey::from_seed(&[8; 32]).public()));
    }

    #[test]
    fn every_change_of_a_byte_but_of_the_keys_name_is_refused() {
        let whole = envelope().render();
        let named = String::from_utf8(whole.clone()).unwrap();
        let from = named.find("keyid\":\"").unwrap() + 8;
        let label = from..from + envelope().key_id.len();
        for place in 0..whole.len() {
            for flip in [1_u8, 2, 32, 128] {
                let mut spoiled = whole.clone();
                spoiled[place] ^= flip;
                let accepted = Envelope::parse(&spoiled).is_ok_and(|read| read.signed_by(&key().public()));
                // The statement repeats the key's name under the signature; `bundle` compares them.
                assert!(!accepted || label.contains(&place), "byte {place} ^ {flip}");
            }
        }
    }

    #[test]
    fn an_envelope_in_another_form_is_refused() {
        let text = String::from_utf8(envelope().render()).unwrap();
        let parse = |text: &str| Envelope::parse(text.as_bytes());
        assert!(matches!(parse(text.trim_end()), Err(EnvelopeError::Form)));
        assert!(matches!(parse(&text.replacen(':', ": ", 1)), Err(EnvelopeError::Form)));
        assert!(matches!(parse(&text.replacen('{', "{\"more\":1,", 1)), Err(EnvelopeError::Form)));
        assert!(matches!(parse(&text.replace("in-toto", "other")), Err(EnvelopeError::PayloadType(_))));
        let twice = text.replace("[{", "[{\"keyid\":\"a\",\"sig\":\"\"},{");
        assert!(matches!(parse(&twice), Err(EnvelopeError::Signatures(2))));
        assert!(matches!(parse("[]"), Err(EnvelopeError::Format(_))));
        let deep = "[".repeat(100_000);
        assert!(matches!(parse(&deep), Err(EnvelopeError::Format(_))));
    }
}

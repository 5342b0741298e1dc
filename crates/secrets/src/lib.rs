//! Secret references, and envelope encryption under a KMS.
//!
//! Configuration names secrets and their versions, it never holds them; [`SecretReader`] turns a name into a value.
//! What users bring (BYOK keys, an org's data) is encrypted under a data key of its own, which a [`Kms`] wraps. A
//! ciphertext is bound to the record it belongs to by its associated data: moved into another row, it doesn't open.
//!
//! No type here prints, serialises or compares a value in the clear, and values are wiped when they are dropped.
//! What the operating system swaps out or a core dump keeps is beyond that.
//!
//! Not here: where ciphertexts are kept (`store`), checkpoint encryption (`objects::checkpoint`), taking secrets out of
//! logs (`redact`), secret managers and cloud key services (they become further readers and further [`Kms`]).

mod aead;
mod channel;
mod configured;
mod cookie;
mod envelope;
mod generate;
mod key;
mod kms;
mod local_kms;
mod reader;
mod reference;
mod value;

pub use channel::{derive_channel_secret, derive_interaction_token, derive_trigger_secret, interaction_token_hash};
pub use configured::{ConfiguredSecrets, ReferenceStatus, ResolvedSecrets, UnresolvedSecrets};
pub use cookie::CookieKeys;
pub use envelope::{Envelope, OpenError, open, seal};
pub use generate::{GenerateError, generate};
pub use key::{DataKey, KeyError};
pub use kms::{Kms, KmsError, Wrapped};
pub use local_kms::{LocalKms, LocalKmsError};
pub use reader::{ResolveError, SecretReader};
pub use reference::{NamedReference, ReferenceError, SecretReference};
pub use value::SecretBytes;

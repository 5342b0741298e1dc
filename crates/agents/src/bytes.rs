//! Printable bytes that look random and are the same every time.

use sha2::{Digest, Sha256};

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 .";

/// `length` characters that depend on `seed` only.
pub(crate) fn printable(seed: &str, length: usize) -> String {
    let mut text = String::with_capacity(length + 32);
    for block in 0_u64.. {
        if text.len() >= length {
            break;
        }
        let hash = Sha256::new().chain_update(seed).chain_update(block.to_be_bytes()).finalize();
        text.extend(hash.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 64)])));
    }
    text.truncate(length);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_text_of_the_asked_length() {
        for length in [0, 1, 31, 32, 33, 1_000] {
            assert_eq!(printable("a", length).len(), length);
            assert_eq!(printable("a", length), printable("a", length));
        }
        assert_ne!(printable("a", 64), printable("b", 64));
    }
}

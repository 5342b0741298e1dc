//! The hash chain of an org's audit trail, as pure functions.
//!
//! A link is the SHA-256 of these fields, each preceded by its length as eight bytes, big-endian: the words `cowork audit 1`, the
//! hash of the link before (32 bytes; for the first, that of the words and the org alone), the number in decimal, the
//! org, the record's id, when it was recorded in microseconds since the epoch in decimal, actor, action, target, and the
//! digest of its detail (32 bytes). That digest is of the words `cowork audit detail 1`, a random salt and the detail as Postgres
//! prints it. So what a detail quotes can be erased with its salt, and the chain still holds; without the salt nobody can find out by
//! trying what it was.
//!
//! The judge computes the same by itself, from "The audit chain" in ARCHITECTURE.md: a change of one is a change of all three.
//!
//! Not promised: that a forger is noticed who can write the database and computes every later link anew. Whoever notes a head
//! outside of it can see that (`verify`).

use clock::Timestamp;
use ids::{AuditId, OrgId};
use sha2::{Digest, Sha256};

const VERSION: &[u8] = b"cowork audit 1";
const DETAIL_VERSION: &[u8] = b"cowork audit detail 1";

pub(super) type Hash = [u8; 32];

/// What of a record a link is about.
#[derive(Debug)]
pub(super) struct Link<'a> {
    pub(super) number: i64,
    pub(super) org: OrgId,
    pub(super) audit_id: AuditId,
    pub(super) recorded_at: Timestamp,
    pub(super) actor: &'a str,
    pub(super) action: &'a str,
    pub(super) target: &'a str,
    pub(super) detail: &'a [u8],
}

/// What the first link follows.
pub(super) fn beginning(org: OrgId) -> Hash {
    digest(&[VERSION, org.to_string().as_bytes()])
}

pub(super) fn next(before: &Hash, link: &Link<'_>) -> Hash {
    digest(&[
        VERSION,
        before,
        link.number.to_string().as_bytes(),
        link.org.to_string().as_bytes(),
        link.audit_id.to_string().as_bytes(),
        link.recorded_at.timestamp_micros().to_string().as_bytes(),
        link.actor.as_bytes(),
        link.action.as_bytes(),
        link.target.as_bytes(),
        link.detail,
    ])
}

pub(super) fn detail(salt: &[u8], detail: &str) -> Hash {
    digest(&[DETAIL_VERSION, salt, detail.as_bytes()])
}

fn digest(fields: &[&[u8]]) -> Hash {
    let mut hash = Sha256::new();
    for field in fields {
        hash.update((field.len() as u64).to_be_bytes());
        hash.update(field);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link<'a>(actor: &'a str, action: &'a str) -> Link<'a> {
        let (org, audit_id) = (uuid::Uuid::from_u128(1).into(), uuid::Uuid::from_u128(2).into());
        let recorded_at = Timestamp::UNIX_EPOCH;
        Link { number: 1, org, audit_id, recorded_at, actor, action, target: "t", detail: &[7; 32] }
    }

    #[test]
    fn no_text_can_be_moved_from_one_field_to_the_next() {
        let first = beginning(link("", "").org);
        assert_ne!(next(&first, &link("ab", "c")), next(&first, &link("a", "bc")));
        assert_ne!(next(&first, &link("a", "b")), next(&[0; 32], &link("a", "b")));
    }

    /// Whoever checks a chain with a program of their own relies on these bytes. They were computed by such a one.
    #[test]
    fn a_link_is_what_the_description_says() {
        let org = link("a", "b").org;
        assert_eq!(hex(&beginning(org)), "1a03d5abe6b5e50de6c72047a79f284a55540767d003700bdc99f10533b5bb23");
        assert_eq!(
            hex(&next(&beginning(org), &link("a", "b"))),
            "c46ecb840b7b1af367c4823c7cb45b281c5fad6c7fe4158bd39719f535314c16"
        );
        assert_eq!(hex(&detail(&[1; 32], "{}")), "14e3376d918e960023bc0d4287d3e78ecc91773ef1813c24f521775129a35eb1");
    }

    fn hex(hash: &Hash) -> String {
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

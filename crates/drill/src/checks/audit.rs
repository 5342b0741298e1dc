//! A part of row 1: every org's audit trail is what was sealed. Each link is computed anew, from the description in
//! ARCHITECTURE.md ("The audit chain") and with no line of the system's own; a record that was changed before the backup is in the
//! backup's digests, too, and only its chain tells.
//!
//! Not here: whether the restored rows are the backup's (`postgres`). Not promised: that a chain which somebody computed anew is
//! noticed, for it has no key.

use archive::probe;
use futures::TryStreamExt as _;
use ids::OrgId;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use sqlx::{Connection as _, PgConnection};

use super::Inquiry;
use crate::report::Code;
use crate::said::{facts, say};

type Hash = [u8; 32];

const LINK: &[u8] = b"cowork audit 1";
const DETAIL: &[u8] = b"cowork audit detail 1";

/// A line of the probe `audit_chains`.
#[derive(Debug, Deserialize)]
struct Row {
    org_id: OrgId,
    head_number: Option<i64>,
    head_hash: Option<String>,
    /// `None`: the org has a head and no sealed record, and the rest is null.
    number: Option<i64>,
    audit_id: Option<String>,
    recorded_at_us: Option<i64>,
    actor: Option<String>,
    action: Option<String>,
    target: Option<String>,
    detail: Option<String>,
    /// Whether what the detail quoted was erased with a person.
    erased: bool,
    salt: Option<String>,
    detail_digest: Option<String>,
    hash: Option<String>,
}

/// What was seen of all trails.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    orgs: usize,
    /// Links that hold.
    links: usize,
    /// Records whose detail was erased.
    erased: usize,
    broken: Vec<Broken>,
}

/// Where a trail breaks first, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Broken {
    org: OrgId,
    number: i64,
    how: &'static str,
}

/// The trail of one org, as far as it was read.
#[derive(Debug)]
struct Trail {
    org: OrgId,
    head: Option<(i64, String)>,
    number: i64,
    hash: Hash,
    broken: Option<Broken>,
}

/// Reads every trail, a row at a time.
pub(crate) async fn read(sql: anyhow::Result<&str>, database_url: &str) -> anyhow::Result<Seen> {
    let mut connection = PgConnection::connect(database_url).await?;
    let (mut seen, mut trail) = (Seen::default(), None);
    let mut rows = probe::stream(&mut connection, sql?).await?;
    while let Some(row) = rows.try_next().await? {
        take(&mut seen, &mut trail, &serde_json::from_str(&row)?);
    }
    seen.end(trail);
    Ok(seen)
}

pub(crate) fn judge(inquiry: &mut Inquiry, seen: &Seen) {
    inquiry.record(
        "audit-chains",
        &facts!({"orgs": seen.orgs, "links": seen.links, "erased": seen.erased, "broken": seen.broken.len()}),
    );
    inquiry.held(seen.links);
    for Broken { org, number, how } in &seen.broken {
        inquiry.fault(Code::AuditChain, say!("the audit trail of org {} breaks at record {}: {}", *org, *number, *how));
    }
}

fn take(seen: &mut Seen, trail: &mut Option<Trail>, row: &Row) {
    if trail.as_ref().is_none_or(|trail| trail.org != row.org_id) {
        let head = row.head_number.zip(row.head_hash.clone());
        seen.end(trail.replace(Trail::begin(row.org_id, head)));
    }
    if let (Some(trail), Some(number)) = (trail, row.number)
        && trail.broken.is_none()
    {
        match trail.follow(number, row) {
            Ok(erased) => {
                seen.links += 1;
                seen.erased += usize::from(erased);
            }
            Err(how) => trail.broken = Some(Broken { org: trail.org, number: trail.number + 1, how }),
        }
    }
}

impl Seen {
    /// Takes a trail that was read to its end.
    fn end(&mut self, trail: Option<Trail>) {
        let Some(trail) = trail else { return };
        self.orgs += 1;
        let at_head = trail
            .head
            .as_ref()
            .is_some_and(|(number, hash)| *number == trail.number && *hash == hex::encode(trail.hash));
        let ends = Broken { org: trail.org, number: trail.number + 1, how: "it does not end at its head" };
        self.broken.extend(trail.broken.or((!at_head).then_some(ends)));
    }
}

impl Trail {
    fn begin(org: OrgId, head: Option<(i64, String)>) -> Self {
        Self { org, head, number: 0, hash: digest(&[LINK, org.to_string().as_bytes()]), broken: None }
    }

    /// Moves on to the link of `row`. Says whether its detail was erased.
    fn follow(&mut self, number: i64, row: &Row) -> Result<bool, &'static str> {
        if number != self.number + 1 {
            return Err("a record is missing");
        }
        let changed = "the record is not what was sealed";
        let detail = row.detail_digest.as_deref().and_then(|hex| hex::decode(hex).ok()).ok_or(changed)?;
        let text = |text: &Option<String>| text.clone().unwrap_or_default().into_bytes();
        let hash = digest(&[
            LINK,
            &self.hash,
            number.to_string().as_bytes(),
            self.org.to_string().as_bytes(),
            &text(&row.audit_id),
            row.recorded_at_us.unwrap_or_default().to_string().as_bytes(),
            &text(&row.actor),
            &text(&row.action),
            &text(&row.target),
            &detail,
        ]);
        if row.hash.as_deref() != Some(&*hex::encode(hash)) {
            return Err(changed);
        }
        let sealed = |salt: &String| {
            let salt = hex::decode(salt).unwrap_or_default();
            digest(&[DETAIL, &salt, &text(&row.detail)])[..] == detail[..]
        };
        match &row.salt {
            Some(salt) if sealed(salt) => {}
            None if row.erased => {}
            _ => return Err("its detail is not what was sealed"),
        }
        (self.number, self.hash) = (number, hash);
        Ok(row.salt.is_none())
    }
}

/// SHA-256 of the fields, each after its length.
fn digest(fields: &[&[u8]]) -> Hash {
    let mut sum = Sha256::new();
    for field in fields {
        sum.update((field.len() as u64).to_be_bytes());
        sum.update(field);
    }
    sum.finalize().into()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;

    fn org() -> OrgId {
        Uuid::from_u128(1).into()
    }

    /// A chain of `length` records, as the probe tells it.
    fn chain(length: i64) -> Vec<Value> {
        let mut hash = Trail::begin(org(), None).hash;
        let mut rows = Vec::new();
        for number in 1..=length {
            let detail = digest(&[DETAIL, &[7; 32], b"{}"]);
            let id = Uuid::from_u128(2).to_string();
            let (n, o) = (number.to_string(), org().to_string());
            hash = digest(&[LINK, &hash, n.as_bytes(), o.as_bytes(), id.as_bytes(), b"0", b"a", b"b", b"t", &detail]);
            rows.push(json!({"org_id": org(), "number": number, "audit_id": id, "recorded_at_us": 0, "actor": "a",
                "action": "b", "target": "t", "detail": "{}", "erased": false, "salt": hex::encode([7; 32]),
                "detail_digest": hex::encode(detail), "hash": hex::encode(hash)}));
        }
        for row in &mut rows {
            row["head_number"] = json!(length);
            row["head_hash"] = json!(hex::encode(hash));
        }
        rows
    }

    fn seen(rows: Vec<Value>) -> Seen {
        let (mut seen, mut trail) = (Seen::default(), None);
        rows.into_iter().for_each(|row| take(&mut seen, &mut trail, &serde_json::from_value(row).unwrap()));
        seen.end(trail);
        seen
    }

    #[track_caller]
    fn breaks(rows: Vec<Value>, number: i64, how: &'static str) {
        assert_eq!(seen(rows).broken, [Broken { org: org(), number, how }]);
    }

    /// The same bytes as the system's own test has, which neither of the two programs made.
    #[test]
    fn a_link_is_what_the_description_says() {
        let beginning = Trail::begin(org(), None).hash;
        assert_eq!(hex::encode(beginning), "1a03d5abe6b5e50de6c72047a79f284a55540767d003700bdc99f10533b5bb23");
        let row = json!({"org_id": org(), "head_number": null, "head_hash": null, "number": 1,
            "audit_id": Uuid::from_u128(2), "recorded_at_us": 0, "actor": "a", "action": "b", "target": "t",
            "detail": "", "erased": true, "salt": null, "detail_digest": hex::encode([7; 32]),
            "hash": "c46ecb840b7b1af367c4823c7cb45b281c5fad6c7fe4158bd39719f535314c16"});
        let row: Row = serde_json::from_value(row).unwrap();
        assert_eq!(Trail::begin(org(), None).follow(1, &row), Ok(true));
        let detail = hex::encode(digest(&[DETAIL, &[1; 32], b"{}"]));
        assert_eq!(detail, "14e3376d918e960023bc0d4287d3e78ecc91773ef1813c24f521775129a35eb1");
    }

    #[test]
    fn what_was_sealed_holds_to_its_head_and_an_erased_detail_is_counted() {
        let mut rows = chain(3);
        (rows[1]["salt"], rows[1]["detail"], rows[1]["erased"]) = (json!(null), json!("erased"), json!(true));
        assert_eq!(seen(rows), Seen { orgs: 1, links: 3, erased: 1, broken: Vec::new() });
        assert_eq!(seen(Vec::new()), Seen::default());
    }

    #[test]
    fn every_way_to_change_a_trail_breaks_it_where_it_was_changed() {
        for (field, value) in [("actor", json!("x")), ("recorded_at_us", json!(1)), ("detail_digest", json!("00"))] {
            let mut rows = chain(3);
            rows[1][field] = value;
            breaks(rows, 2, "the record is not what was sealed");
        }
        let mut rows = chain(3);
        rows[2]["detail"] = json!("{\"n\": 1}");
        breaks(rows, 3, "its detail is not what was sealed");
        let mut rows = chain(3);
        rows.remove(1);
        breaks(rows, 2, "a record is missing");
        let mut rows = chain(3);
        rows.pop();
        breaks(rows, 3, "it does not end at its head");
    }

    #[test]
    fn a_trail_without_its_head_or_without_its_records_is_broken() {
        let mut rows = chain(1);
        (rows[0]["head_number"], rows[0]["head_hash"]) = (json!(null), json!(null));
        breaks(rows, 2, "it does not end at its head");
        let mut alone = chain(1);
        for (name, value) in alone[0].as_object_mut().unwrap() {
            if !["org_id", "head_number", "head_hash", "erased"].contains(&name.as_str()) {
                *value = json!(null);
            }
        }
        breaks(alone, 1, "it does not end at its head");
    }
}

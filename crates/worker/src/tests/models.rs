//! The way of an org's key to a model: revealed for a session, audited, in force or not.

use std::collections::BTreeMap;

use agents::ModelAccess as _;
use domain::egress::Egress;
use ids::ByokKeyId;
use providers::Doors;
use redact::Redactor;
use secrets::Envelope;
use store::{AuditFilter, NewByokKey, NewByokSecret, byok_aad};

use super::world::World;
use crate::Models;

fn models(world: &World, doors: Doors) -> Models {
    let parts = world.parts();
    Models { store: parts.store, kms: parts.kms, doors, redactor: Redactor::new() }
}

fn doors() -> Doors {
    Doors::over_http(&Egress::default(), &BTreeMap::new()).unwrap()
}

/// Gives the org a key; its id, and the key.
async fn bring(world: &World, provider: &str) -> (ByokKeyId, String) {
    let key: ByokKeyId = world.store.sources().id();
    let plaintext = format!("sk-{}", hex::encode(world.store.sources().bytes::<16>()));
    let (sources, aad) = (world.store.sources(), byok_aad(world.org, key));
    let sealed = secrets::seal(&*world.parts().kms, sources, plaintext.as_bytes(), &aad).await.unwrap();
    let Envelope { ciphertext, wrapped_key, key_version } = sealed;
    let secret = NewByokSecret { last_four: "abcd".into(), ciphertext, wrapped_key, key_version };
    let new = NewByokKey { byok_key_id: key, provider: provider.into(), label: "x".into(), secret };
    world.store.byok_create(world.org, &new, "role:test").await.unwrap();
    (key, plaintext)
}

/// What was revealed, by the audit trail.
async fn revealed(world: &World) -> Vec<(String, serde_json::Value)> {
    let filter = AuditFilter { action: Some("byok_key.reveal".into()), ..AuditFilter::default() };
    let (records, _) = world.store.audit_list(world.org, &filter, 0, 100).await.unwrap();
    records.into_iter().map(|record| (record.target, record.detail)).collect()
}

#[tokio::test]
async fn a_key_is_revealed_for_a_session_once_and_that_is_audited() {
    let world = World::new().await;
    let session = world.session().await;
    bring(&world, "openai").await;
    let (key, plaintext) = bring(&world, " OpenAI ").await;
    let models = models(&world, doors());
    let door = models.open(world.org, session, "openai").await.unwrap();
    assert!(door.stands().await);
    let detail = serde_json::json!({ "session_id": session, "secret_number": 1 });
    assert_eq!(revealed(&world).await, [(format!("byok_key:{key}"), detail)]);
    assert!(!door.base_url().contains(&plaintext) && !format!("{door:?} {models:?}").contains(&plaintext));
    assert_eq!(models.redactor.redact(&format!("it is {plaintext}")), "it is [redacted:secret]");

    assert!(world.store.byok_revoke(world.org, key, "role:test").await.unwrap());
    assert!(!door.stands().await, "a key that was revoked is not gone on with");
    let door = models.open(world.org, session, "openai").await.unwrap();
    assert!(door.stands().await, "the older one is in force");
}

#[tokio::test]
async fn without_a_key_a_person_is_told_which_one_to_add() {
    let world = World::new().await;
    let session = world.session().await;
    bring(&world, "openai").await;
    let models = models(&world, doors());
    let refused = models.open(world.org, session, "anthropic").await.unwrap_err();
    assert_eq!(refused, "the org has no key for anthropic; add one (POST /api/byok-keys) and send the prompt again");
    let other = world.store.org_create("Other", "role:test").await.unwrap().org_id;
    assert!(models.open(other, session, "openai").await.unwrap_err().contains("the org has no key for openai"));
    assert!(revealed(&world).await.is_empty());
}

#[tokio::test]
async fn a_copy_for_a_drill_reveals_no_key() {
    let world = World::new().await;
    let session = world.session().await;
    bring(&world, "openai").await;
    let refused = models(&world, Doors::none()).open(world.org, session, "openai").await.unwrap_err();
    assert!(refused.contains("a copy for a drill asks nobody"), "{refused}");
    assert!(revealed(&world).await.is_empty());
}

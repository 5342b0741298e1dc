//! Records move to another version once, and not those that changed meanwhile.

use super::*;
use crate::testing::World;
use crate::{NewByokKey, NewByokSecret, OrgKey};

async fn byok(world: &World, wrapped: &[u8]) -> ByokKeyId {
    let byok_key_id: ByokKeyId = world.store.sources().id();
    let new = NewByokKey {
        byok_key_id,
        provider: "anthropic".into(),
        label: "team".into(),
        secret: NewByokSecret {
            last_four: "1234".into(),
            ciphertext: b"sealed".to_vec(),
            wrapped_key: wrapped.to_vec(),
            key_version: "1".into(),
        },
    };
    world.store.byok_create(world.org, &new, "role:test").await.unwrap();
    byok_key_id
}

async fn older(world: &World, table: SealedTable) -> Vec<WrappedKey> {
    world.store.data_key_list_older(table, "2", None, 100).await.unwrap()
}

fn anew(keys: &[WrappedKey]) -> Vec<Rewrapped> {
    keys.iter().map(|before| Rewrapped { before: before.clone(), wrapped_key: b"new".to_vec() }).collect()
}

#[tokio::test]
async fn records_move_to_the_new_version_a_page_at_a_time_and_once() {
    let world = World::new().await;
    for wrapped in [b"one", b"two", b"six"] {
        byok(&world, wrapped).await;
    }
    let own = OrgKey { wrapped_key: b"org".to_vec(), key_version: "1".into() };
    world.store.org_key_create(world.org, &own).await.unwrap();
    let table = SealedTable::ByokKeys;
    let first = world.store.data_key_list_older(table, "2", None, 2).await.unwrap();
    let rest = world.store.data_key_list_older(table, "2", Some(&first[1].place), 2).await.unwrap();
    assert_eq!((first.len(), rest.len()), (2, 1));
    assert_eq!(world.store.data_key_rewrap(table, "2", &anew(&first), "role:test").await.unwrap(), 2);
    assert_eq!(world.store.data_key_rewrap(table, "2", &anew(&first), "role:test").await.unwrap(), 0);
    assert_eq!(older(&world, table).await, rest);

    let counts = world.store.data_key_counts().await.unwrap();
    let counts: Vec<_> = counts.iter().map(|it| (it.table.as_str(), it.version.as_str(), it.records)).collect();
    assert_eq!(counts, [("byok_keys", "1", 1), ("byok_keys", "2", 2), ("org_keys", "1", 1)]);
}

#[tokio::test]
async fn a_key_that_was_revoked_meanwhile_stays_forgotten() {
    let world = World::new().await;
    let key = byok(&world, b"one").await;
    let listed = older(&world, SealedTable::ByokKeys).await;
    world.store.byok_revoke(world.org, key, "role:test").await.unwrap();
    let done = world.store.data_key_rewrap(SealedTable::ByokKeys, "2", &anew(&listed), "role:test").await;
    assert_eq!(done.unwrap(), 0);
    assert!(world.store.byok_sealed_list(None, 10).await.unwrap().is_empty());
}

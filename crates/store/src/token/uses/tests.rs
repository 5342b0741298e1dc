//! Requests note uses, and something else writes them.

use std::time::Duration;

use domain::tenancy::{Role, Scope};
use ids::AccountId;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::*;
use crate::testing::World;
use crate::{ErasedFor, NewMember, NewToken, Token};

/// Tokens of one account, called by their numbers.
async fn with_tokens(count: u8) -> (World, AccountId) {
    let world = World::new().await;
    let new = NewMember { email: "ada@example.org".into(), display_name: "Ada".into(), role: Role::Member.into() };
    let account = world.store.member_add(world.org, &new, "role:test").await.unwrap().unwrap().account_id;
    for number in 0..count {
        let new = NewToken {
            account,
            name: number.to_string(),
            hash: [number; 32],
            prefix: "cow_aaaa".into(),
            last_four: "aaaa".into(),
            scopes: vec![Scope::Read],
            expires_at: None,
        };
        world.store.token_create(world.org, &new, "role:test").await.unwrap().unwrap();
    }
    (world, account)
}

async fn shown(world: &World, number: u8) {
    assert!(world.store.token_identify(&[number; 32]).await.unwrap().is_some());
}

async fn token(world: &World, number: u8) -> Token {
    let listed = world.store.token_list(world.org, None, 1_000).await.unwrap();
    listed.into_iter().find(|token| token.name == number.to_string()).unwrap()
}

async fn last_used(world: &World, number: u8) -> Option<Timestamp> {
    token(world, number).await.last_used_at
}

#[tokio::test]
async fn a_last_use_is_written_by_no_request_and_moves_forwards_only() {
    let (world, _) = with_tokens(2).await;
    let used_at = world.store.sources().now();
    shown(&world, 0).await;
    assert_eq!(last_used(&world, 0).await, None, "no request writes it");
    world.store.token_uses_write().await.unwrap();
    assert_eq!(last_used(&world, 0).await, Some(used_at));
    assert_eq!(last_used(&world, 1).await, None, "nobody used this one");

    // As one of a process whose clock is behind, or that is slow.
    world.clock.advance(TimeDelta::hours(-1));
    shown(&world, 0).await;
    world.store.token_uses_flush().await.unwrap();
    assert_eq!(last_used(&world, 0).await, Some(used_at));
    assert!(world.store.uses.noted().uses.is_empty(), "it is not tried again");
}

#[tokio::test]
async fn a_token_is_written_at_most_once_a_minute_and_when_the_process_stops() {
    let (world, _) = with_tokens(1).await;
    let begun = world.store.sources().now();
    let after = async |seconds| {
        world.clock.advance(TimeDelta::seconds(seconds));
        shown(&world, 0).await;
        world.store.token_uses_write().await.unwrap();
        last_used(&world, 0).await.map(|used_at| (used_at - begun).num_seconds())
    };
    assert_eq!(after(0).await, Some(0));
    assert_eq!(after(59).await, Some(0), "it was written less than a minute ago");
    assert_eq!(after(1).await, Some(60));
    assert_eq!(after(1).await, Some(60));
    world.store.token_uses_flush().await.unwrap();
    assert_eq!(last_used(&world, 0).await, Some(begun + TimeDelta::seconds(61)));
}

#[tokio::test]
async fn who_is_remembered_has_used_the_token_as_well() {
    let (world, _) = with_tokens(1).await;
    let stop = CancellationToken::new();
    let (store, stopped) = (world.store.clone(), stop.clone());
    let carried = tokio::spawn(async move { store.wakes_carry(&stopped).await });
    testkit::wait_until("others are heard", async || world.store.wakes.identity_changes().is_some()).await;
    shown(&world, 0).await;
    world.clock.advance(TimeDelta::seconds(1));
    let (now, changes) = (world.store.sources().now(), world.store.wakes.identity_changes().unwrap());
    assert!(world.store.identities.get(&[0; 32], now, changes).is_some(), "the database is not asked again");
    shown(&world, 0).await;
    world.store.token_uses_write().await.unwrap();
    assert_eq!(last_used(&world, 0).await, Some(now));
    stop.cancel();
    carried.await.unwrap();
}

#[tokio::test]
async fn many_tokens_are_written_by_one_statement() {
    let (world, _) = with_tokens(50).await;
    for number in 0..50 {
        shown(&world, number).await;
    }
    world.store.token_uses_write().await.unwrap();
    // Which transaction wrote a row last: there is one for each statement.
    let sql = "SELECT count(*), count(DISTINCT xmin::text) FROM api_tokens WHERE last_used_at IS NOT NULL";
    let written: (i64, i64) = sqlx::query_as(sql).fetch_one(&world.store.pool).await.unwrap();
    assert_eq!(written, (50, 1));
}

#[tokio::test]
async fn a_revoked_token_stays_revoked_and_tells_its_last_use() {
    let (world, _) = with_tokens(1).await;
    let used_at = world.store.sources().now();
    shown(&world, 0).await;
    world.clock.advance(TimeDelta::seconds(1));
    let before = token(&world, 0).await;
    assert!(world.store.token_revoke(world.org, before.token_id, None, "role:test").await.unwrap());
    world.store.token_uses_write().await.unwrap();
    let revoked_at = Some(used_at + TimeDelta::seconds(1));
    assert_eq!(token(&world, 0).await, Token { last_used_at: Some(used_at), revoked_at, ..before });
    assert_eq!(world.store.token_identify(&[0; 32]).await.unwrap(), None);
    assert!(world.store.uses.noted().uses.is_empty(), "who is refused has used nothing");
}

#[tokio::test]
async fn a_token_that_somebody_is_changing_is_left_for_the_next_time() {
    let (world, _) = with_tokens(2).await;
    let used_at = world.store.sources().now();
    shown(&world, 0).await;
    shown(&world, 1).await;
    let mut tx = world.store.begin_everywhere().await.unwrap();
    let sql = "SELECT 1 FROM api_tokens WHERE name = '0' FOR UPDATE";
    sqlx::query(sql).fetch_one(&mut *tx).await.unwrap();
    let written = tokio::time::timeout(Duration::from_secs(30), world.store.token_uses_flush());
    written.await.expect("it waits for nobody").unwrap();
    assert_eq!([last_used(&world, 0).await, last_used(&world, 1).await], [None, Some(used_at)]);
    tx.rollback().await.unwrap();
    world.store.token_uses_flush().await.unwrap();
    assert_eq!(last_used(&world, 0).await, Some(used_at));
}

#[tokio::test]
async fn nothing_tells_when_somebody_who_was_erased_used_their_tokens() {
    let (world, account) = with_tokens(1).await;
    shown(&world, 0).await;
    world.store.token_uses_write().await.unwrap();
    world.clock.advance(TimeDelta::seconds(1));
    shown(&world, 0).await;
    world.store.subject_erase(account, ErasedFor::Installation, "role:test").await.unwrap();
    world.store.token_uses_flush().await.unwrap();
    let left = world.store.token_list(world.org, None, 10).await.unwrap().remove(0);
    assert_eq!((left.last_used_at, left.prefix, left.last_four.as_str()), (None, None, ""));
    assert!(left.revoked_at.is_some());
}

#[test]
fn of_more_tokens_than_can_be_noted_those_that_are_known_go_on() {
    let (mut noted, at) = (Noted::default(), Timestamp::UNIX_EPOCH);
    let token = |number: usize| (OrgId::from(Uuid::nil()), TokenId::from(Uuid::from_u128(number as u128)));
    (0..=NOTED).for_each(|number| noted.note(token(number), at));
    assert_eq!(noted.uses.len(), NOTED);
    let later = at + TimeDelta::seconds(1);
    noted.note(token(0), later);
    assert_eq!(noted.uses[&token(0)], later);
}

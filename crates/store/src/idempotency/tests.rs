use domain::tenancy::Role;

use super::*;
use crate::testing::World;
use crate::{NewMember, NewUpload};

async fn account(world: &World) -> AccountId {
    let new = NewMember { email: "ada@example.org".into(), display_name: "Ada".into(), role: Role::Owner.into() };
    world.store.member_add(world.org, &new, "role:test").await.unwrap().unwrap().account_id
}

async fn begin(world: &World, account: AccountId, digest: u8) -> Begun {
    world.store.idempotency_begin(world.org, account, "k", &[digest; 32]).await.unwrap()
}

async fn taken(world: &World, account: AccountId) -> Attempt {
    let Begun::New(attempt) = begin(world, account, 1).await else { panic!("the key is known") };
    attempt
}

fn answer() -> SealedAnswer {
    SealedAnswer { status: 201, ciphertext: b"sealed".into(), wrapped_key: b"wrapped".into(), key_version: "1".into() }
}

/// Something with an effect: an org is renamed into being.
async fn effect(world: &World, attempt: &Attempt) -> Result<crate::Org, StoreError> {
    attempt.clone().carry_out(world.store.org_create("Effect", "role:test")).await
}

async fn effects(world: &World) -> usize {
    let orgs = world.store.org_list(None, 100).await.unwrap();
    orgs.iter().filter(|org| org.name == "Effect").count()
}

#[tokio::test]
async fn of_two_at_once_one_carries_the_request_out_and_the_other_gets_its_answer() {
    let world = World::new().await;
    let account = account(&world).await;
    let (one, two) = tokio::join!(begin(&world, account, 1), begin(&world, account, 1));
    let (Begun::New(attempt), Begun::InProgress) = (if matches!(one, Begun::New(_)) { (one, two) } else { (two, one) })
    else {
        panic!("exactly one is new")
    };
    effect(&world, &attempt).await.unwrap();
    assert_eq!(begin(&world, account, 1).await, Begun::InProgress, "the answer is being written");
    world.store.idempotency_answer(&attempt, &answer()).await.unwrap();
    assert_eq!(begin(&world, account, 1).await, Begun::Answered(answer()));
    assert_eq!(begin(&world, account, 2).await, Begun::OtherRequest);
    let kept = world.store.idempotency_answers(None, 10).await.unwrap();
    assert_eq!(kept.len(), 1);
    assert_eq!(world.store.idempotency_answers(kept.last(), 10).await.unwrap(), []);
}

#[tokio::test]
async fn a_request_that_died_without_effect_is_carried_out_by_the_next_attempt_only() {
    let world = World::new().await;
    let account = account(&world).await;
    let late = taken(&world, account).await;
    world.clock.advance(HELD);
    let next = taken(&world, account).await;
    assert!(effect(&world, &late).await.is_err(), "it overslept");
    effect(&world, &next).await.unwrap();
    assert_eq!(effects(&world).await, 1);
    world.store.idempotency_answer(&late, &answer()).await.unwrap();
    assert_eq!(begin(&world, account, 1).await, Begun::InProgress, "a late answer touches no row");
}

#[tokio::test]
async fn a_request_whose_answer_was_lost_is_not_carried_out_again() {
    let world = World::new().await;
    let account = account(&world).await;
    let attempt = taken(&world, account).await;
    effect(&world, &attempt).await.unwrap();
    world.clock.advance(HELD);
    assert_eq!(begin(&world, account, 1).await, Begun::AnswerLost);
    assert!(!world.store.idempotency_release(&attempt).await.unwrap());
    assert_eq!(begin(&world, account, 1).await, Begun::AnswerLost);
}

#[tokio::test]
async fn an_upload_that_was_begun_is_not_begun_again() {
    let world = World::new().await;
    let (account, session) = (account(&world).await, world.session().await);
    let attempt = taken(&world, account).await;
    let (name, media_type) = ("a.txt".to_owned(), "text/plain".to_owned());
    let new = NewUpload { org: world.org, session: Some(session), name, media_type, size: 1, sha256: vec![7; 32] };
    attempt.clone().carry_out(world.store.upload_create(&new)).await.unwrap();
    assert!(!world.store.idempotency_release(&attempt).await.unwrap(), "it had an effect");
    world.clock.advance(HELD);
    assert_eq!(begin(&world, account, 1).await, Begun::AnswerLost);
}

#[tokio::test]
async fn a_key_is_free_again_after_a_request_without_effect_and_after_a_day() {
    let world = World::new().await;
    let account = account(&world).await;
    let attempt = taken(&world, account).await;
    assert!(world.store.idempotency_release(&attempt).await.unwrap());
    let attempt = taken(&world, account).await;
    world.store.idempotency_answer(&attempt, &answer()).await.unwrap();
    assert_eq!(world.store.idempotency_sweep().await.unwrap(), 0);
    world.clock.advance(IDEMPOTENCY_KEPT);
    assert!(matches!(begin(&world, account, 2).await, Begun::New(_)));
    world.clock.advance(IDEMPOTENCY_KEPT);
    assert_eq!(world.store.idempotency_sweep().await.unwrap(), 1);
}

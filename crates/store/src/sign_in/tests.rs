use chrono::TimeDelta;
use domain::tenancy::Role;
use domain::version::Expected;

use super::*;
use crate::testing::World;
use crate::{Credential, Effect, ErasedFor, NewMember, Removal};

const IDLE: TimeDelta = TimeDelta::hours(12);

/// Somebody whom the provider calls `subject`. Each sign-in has a number of its own.
fn person(world: &World, subject: &str, number: u8) -> NewSignIn {
    NewSignIn {
        issuer: "https://login.example".into(),
        subject: subject.into(),
        verified_email: Some("ada@example.org".into()),
        org: None,
        invitation: None,
        session_hash: [number; 32],
        sign_in_hash: [number; 32],
        replaces: None,
        user_agent: "a browser".into(),
        expires_at: world.store.sources().now() + TimeDelta::days(7),
    }
}

async fn with_ada() -> (World, AccountId) {
    let world = World::new().await;
    let account = member(&world, world.org, "ada@example.org").await;
    // So that Ada may leave.
    member(&world, world.org, "bob@example.org").await;
    (world, account)
}

async fn member(world: &World, org: OrgId, email: &str) -> AccountId {
    let new = NewMember { email: email.into(), display_name: email.into(), role: Role::Owner.into() };
    world.store.member_add(org, &new, "role:test").await.unwrap().unwrap().account_id
}

async fn in_force(world: &World, number: u8) -> bool {
    world.store.browser_session_identify(&[number; 32], IDLE).await.unwrap().is_some()
}

async fn untold(world: &World) -> Vec<Effect> {
    let rows = world.store.outbox_list(world.store.sources().now(), 100).await.unwrap();
    rows.into_iter().map(|row| row.effect).collect()
}

#[tokio::test]
async fn a_member_is_found_by_its_address_once_and_by_its_subject_from_then_on() {
    let (world, ada) = with_ada().await;
    let first = world.store.sign_in(&person(&world, "s-1", 1)).await.unwrap();
    assert_eq!((first.account, first.org), (ada, world.org));
    let identity = world.store.browser_session_identify(&[1; 32], IDLE).await.unwrap().unwrap();
    assert_eq!((identity.account, identity.credential), (ada, Credential::BrowserSession(first.session)));
    assert_eq!(identity.permissions, Role::Owner.permissions());

    let elsewhere = NewSignIn { verified_email: Some("ada@new.example".into()), ..person(&world, "s-1", 2) };
    assert_eq!(world.store.sign_in(&elsewhere).await.unwrap().account, ada, "an address may change");
    let other = world.store.sign_in(&person(&world, "s-2", 3)).await.unwrap_err();
    assert!(matches!(other, SignInError::LinkedToAnother), "the address was given to somebody else: {other:?}");
    let provider = NewSignIn { issuer: "https://other.example".into(), ..person(&world, "s-2", 4) };
    assert_eq!(world.store.sign_in(&provider).await.unwrap().account, ada);
}

#[tokio::test]
async fn who_is_no_member_gets_no_account() {
    let (world, ada) = with_ada().await;
    let stranger = NewSignIn { verified_email: Some("eve@example.org".into()), ..person(&world, "s-9", 1) };
    let nameless = NewSignIn { verified_email: None, ..person(&world, "s-9", 2) };
    let other_org = world.store.org_create("Other", "role:test").await.unwrap().org_id;
    let elsewhere = NewSignIn { org: Some(other_org), ..person(&world, "s-1", 3) };
    for new in [stranger, nameless, elsewhere] {
        let refused = world.store.sign_in(&new).await.unwrap_err();
        assert!(matches!(refused, SignInError::NoSuchMember), "{refused:?}");
    }
    assert_eq!(
        world.store.member_remove(world.org, ada, &Expected::Anything, "role:test").await.unwrap(),
        Removal::Done
    );
    let gone = world.store.sign_in(&person(&world, "s-1", 4)).await.unwrap_err();
    assert!(matches!(gone, SignInError::NoSuchMember), "an account that belongs to no org: {gone:?}");
    let counts = world.store.diagnostics_counts().await.unwrap();
    assert_eq!((counts["accounts"], counts["account_identities"], counts["browser_sessions"]), (2, 0, 0));
}

#[tokio::test]
async fn of_two_that_complete_one_sign_in_at_once_one_does() {
    let (world, _) = with_ada().await;
    let again = NewSignIn { session_hash: [2; 32], ..person(&world, "s-1", 1) };
    let first = person(&world, "s-1", 1);
    let (one, two) = tokio::join!(world.store.sign_in(&first), world.store.sign_in(&again));
    assert_ne!(one.is_ok(), two.is_ok());
    let refused = one.err().or(two.err()).unwrap();
    assert!(matches!(refused, SignInError::Used), "{refused:?}");
}

#[tokio::test]
async fn two_first_sign_ins_at_once_link_one_person() {
    let (world, ada) = with_ada().await;
    let (one, two) = (person(&world, "s-1", 1), person(&world, "s-1", 2));
    let (one, two) = tokio::join!(world.store.sign_in(&one), world.store.sign_in(&two));
    assert_eq!((one.unwrap().account, two.unwrap().account), (ada, ada));
}

#[tokio::test]
async fn a_session_ends_when_it_is_idle_and_in_any_case_in_the_end() {
    let (world, _) = with_ada().await;
    world.store.sign_in(&person(&world, "s-1", 1)).await.unwrap();
    world.clock.advance(IDLE - TimeDelta::seconds(1));
    assert!(in_force(&world, 1).await);
    for _ in 0..13 {
        world.clock.advance(IDLE - TimeDelta::minutes(1));
        assert!(in_force(&world, 1).await, "it is in use");
    }
    world.clock.advance(TimeDelta::hours(1));
    assert!(!in_force(&world, 1).await, "it has expired, whatever its use");
    world.store.sign_in(&person(&world, "s-1", 2)).await.unwrap();
    world.clock.advance(IDLE);
    assert!(!in_force(&world, 2).await, "it was idle");

    assert_eq!(world.store.browser_session_sweep().await.unwrap(), 0, "they are still listed");
    world.clock.advance(TimeDelta::days(40));
    assert_eq!(world.store.browser_session_sweep().await.unwrap(), 2);
}

#[tokio::test]
async fn a_session_is_written_at_most_once_a_minute() {
    let (world, _) = with_ada().await;
    let session = world.store.sign_in(&person(&world, "s-1", 1)).await.unwrap().session;
    let last_used = async || {
        assert!(in_force(&world, 1).await);
        world.store.browser_session_get(world.org, session).await.unwrap().unwrap().last_used_at
    };
    let begun = last_used().await;
    world.clock.advance(TimeDelta::seconds(59));
    assert_eq!(last_used().await, begun);
    world.clock.advance(TimeDelta::seconds(1));
    assert_eq!(last_used().await, begun + TimeDelta::seconds(60));
}

#[tokio::test]
async fn a_session_that_is_revoked_is_told_to_the_ledger_once() {
    let (world, ada) = with_ada().await;
    let session = world.store.sign_in(&person(&world, "s-1", 1)).await.unwrap().session;
    let stranger = world.store.sources().id();
    assert!(!world.store.browser_session_revoke(world.org, session, Some(stranger), "x").await.unwrap());
    assert!(in_force(&world, 1).await);
    for _ in 0..2 {
        assert!(world.store.browser_session_revoke(world.org, session, Some(ada), "x").await.unwrap());
    }
    assert!(!in_force(&world, 1).await);
    assert_eq!(untold(&world).await, [Effect::BrowserSessionRevoked { account: ada, session: [1; 32] }]);
}

#[tokio::test]
async fn who_leaves_is_signed_out_and_stays_so_when_they_come_back() {
    let (world, ada) = with_ada().await;
    world.store.sign_in(&person(&world, "s-1", 1)).await.unwrap();
    world.store.member_remove(world.org, ada, &Expected::Anything, "role:test").await.unwrap();
    assert!(!in_force(&world, 1).await);
    assert!(untold(&world).await.contains(&Effect::BrowserSessionRevoked { account: ada, session: [1; 32] }));
    member(&world, world.org, "ada@example.org").await;
    assert!(!in_force(&world, 1).await);
    world.store.sign_in(&person(&world, "s-1", 2)).await.unwrap();
    assert!(in_force(&world, 2).await);
}

#[tokio::test]
async fn nothing_of_who_is_erased_is_left_of_their_sign_ins() {
    let (world, ada) = with_ada().await;
    world.store.sign_in(&person(&world, "s-1", 1)).await.unwrap();
    world.store.subject_erase(ada, ErasedFor::Installation, "role:test").await.unwrap();
    assert!(!in_force(&world, 1).await);
    let counts = world.store.diagnostics_counts().await.unwrap();
    assert_eq!((counts["account_identities"], counts["browser_sessions"]), (0, 0));
    let refused = world.store.sign_in(&person(&world, "s-1", 2)).await.unwrap_err();
    assert!(matches!(refused, SignInError::NoSuchMember), "{refused:?}");
}

#[tokio::test]
async fn a_browser_has_one_session_and_an_account_a_few() {
    let (world, _) = with_ada().await;
    world.store.sign_in(&person(&world, "s-1", 1)).await.unwrap();
    let again = NewSignIn { replaces: Some([1; 32]), ..person(&world, "s-1", 2) };
    world.store.sign_in(&again).await.unwrap();
    assert!(!in_force(&world, 1).await && in_force(&world, 2).await);
    for number in 3..=22 {
        world.clock.advance(TimeDelta::seconds(1));
        world.store.sign_in(&person(&world, "s-1", number)).await.unwrap();
    }
    assert!(!in_force(&world, 2).await, "the one that was used longest ago");
    assert!(in_force(&world, 3).await && in_force(&world, 22).await);
}

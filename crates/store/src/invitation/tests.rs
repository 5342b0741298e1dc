use chrono::TimeDelta;
use domain::policy::Policy;
use domain::tenancy::Role;
use domain::version::Expected;

use super::*;
use crate::testing::World;
use crate::{ErasedFor, NewMember, NewSignIn, SignedIn};

const TOKEN: [u8; 32] = [200; 32];

async fn invite(world: &World, email: &str, token_hash: [u8; 32]) -> Invitation {
    let expires_at = world.store.sources().now() + TimeDelta::days(7);
    let new = NewInvitation { email: email.into(), role: Role::Viewer.into(), token_hash, expires_at };
    world.store.invitation_create(world.org, &new, "role:test").await.unwrap().unwrap()
}

/// Somebody comes with an invitation.
async fn come(world: &World, email: &str, token: Option<[u8; 32]>) -> Result<SignedIn, SignInError> {
    let number: [u8; 32] = world.store.sources().bytes();
    let new = NewSignIn {
        issuer: "https://login.example".into(),
        subject: email.into(),
        verified_email: Some(email.into()),
        org: None,
        invitation: token,
        session_hash: number,
        sign_in_hash: number,
        replaces: None,
        user_agent: String::new(),
        expires_at: world.store.sources().now() + TimeDelta::days(1),
    };
    world.store.sign_in(&new).await
}

#[track_caller]
fn not_invited(came: &Result<SignedIn, SignInError>) {
    assert!(matches!(came, Err(SignInError::NotInvited)), "{came:?}");
}

#[tokio::test]
async fn who_is_invited_becomes_a_member_once() {
    let world = World::new().await;
    invite(&world, "bob@example.org", TOKEN).await;
    not_invited(&come(&world, "eve@example.org", Some(TOKEN)).await);
    let bob = come(&world, "bob@example.org", Some(TOKEN)).await.unwrap();
    let member = world.store.member_get(world.org, bob.account).await.unwrap().unwrap();
    assert_eq!((member.role, &*member.email, bob.org), (Role::Viewer.into(), "bob@example.org", world.org));
    not_invited(&come(&world, "bob@example.org", Some(TOKEN)).await);
    come(&world, "bob@example.org", None).await.unwrap();
    let told = world.store.outbox_list(world.store.sources().now(), 10).await.unwrap();
    assert_eq!(told[0].effect, Effect::InteractionUsed { org: world.org, interaction: TOKEN });
}

#[tokio::test]
async fn who_has_an_account_elsewhere_joins_with_it() {
    let world = World::new().await;
    let other = world.store.org_create("Other", "role:test").await.unwrap().org_id;
    let new = NewMember { email: "bob@example.org".into(), display_name: "Bob".into(), role: Role::Owner.into() };
    let bob = world.store.member_add(other, &new, "role:test").await.unwrap().unwrap().account_id;
    invite(&world, "bob@example.org", TOKEN).await;
    let came = come(&world, "bob@example.org", Some(TOKEN)).await.unwrap();
    assert_eq!((came.account, came.org), (bob, world.org));
    assert_eq!(world.store.member_get(other, bob).await.unwrap().unwrap().role, Role::Owner.into());
}

#[tokio::test]
async fn an_invitation_that_is_over_lets_nobody_in() {
    let world = World::new().await;
    invite(&world, "bob@example.org", TOKEN).await;
    let second = invite(&world, "bob@example.org", [201; 32]).await;
    not_invited(&come(&world, "bob@example.org", Some(TOKEN)).await);
    assert!(world.store.invitation_revoke(world.org, second.invitation_id, "role:test").await.unwrap());
    assert!(world.store.invitation_revoke(world.org, second.invitation_id, "role:test").await.unwrap());
    not_invited(&come(&world, "bob@example.org", Some([201; 32])).await);
    invite(&world, "bob@example.org", [202; 32]).await;
    world.clock.advance(TimeDelta::days(7));
    not_invited(&come(&world, "bob@example.org", Some([202; 32])).await);
    assert_eq!(world.store.diagnostics_counts().await.unwrap()["accounts"], 0);
    assert_eq!(world.store.invitation_sweep().await.unwrap(), 0, "they are still listed");
    world.clock.advance(TimeDelta::days(31));
    assert_eq!(world.store.invitation_sweep().await.unwrap(), 3);
}

#[tokio::test]
async fn an_invitation_that_the_lost_system_saw_used_stays_used() {
    let world = World::new().await;
    invite(&world, "bob@example.org", TOKEN).await;
    sqlx::query(
        "INSERT INTO remembered_effects (org_id, kind, effect_id, effect_key, state, happened_at, generation)
        VALUES ($1, 'interaction', $2, $3, 'used', $4, 1)",
    )
    .bind(uuid::Uuid::from(world.org))
    .bind(uuid::Uuid::nil())
    .bind(&TOKEN[..])
    .bind(world.store.sources().now())
    .execute(&world.store.pool)
    .await
    .unwrap();
    not_invited(&come(&world, "bob@example.org", Some(TOKEN)).await);
}

#[tokio::test]
async fn an_invitation_is_used_by_one_of_two_who_come_at_once() {
    let world = World::new().await;
    invite(&world, "bob@example.org", TOKEN).await;
    let come = || come(&world, "bob@example.org", Some(TOKEN));
    let (one, two) = tokio::join!(come(), come());
    assert_ne!(one.is_ok(), two.is_ok());
    not_invited(if one.is_ok() { &two } else { &one });
}

#[tokio::test]
async fn nothing_of_who_is_erased_is_left_of_their_invitations() {
    let world = World::new().await;
    invite(&world, "bob@example.org", TOKEN).await;
    let bob = come(&world, "bob@example.org", Some(TOKEN)).await.unwrap().account;
    invite(&world, "bob@example.org", [201; 32]).await;
    world.store.subject_erase(bob, ErasedFor::Installation, "role:test").await.unwrap();
    assert_eq!(world.store.diagnostics_counts().await.unwrap()["invitations"], 0);
}

#[tokio::test]
async fn an_invitation_lets_nobody_in_while_the_policy_does_not_allow_the_address() {
    let world = World::new().await;
    invite(&world, "carol@example.com", TOKEN).await;
    let put = async |domains: Option<&[&str]>| {
        let patterns = |domains: &[&str]| domains.iter().map(|domain| domain.parse().unwrap()).collect();
        let policy = Policy { member_domains: domains.map(patterns), ..Policy::default() };
        world.store.policy_put(world.org, &policy, &Expected::Anything, "role:test").await.unwrap();
    };
    put(Some(&["example.org"])).await;
    let refused = come(&world, "carol@example.com", Some(TOKEN)).await;
    assert!(matches!(refused, Err(SignInError::RefusedByPolicy)), "{refused:?}");
    assert!(world.store.member_list(world.org, None, 10).await.unwrap().is_empty());
    put(None).await;
    come(&world, "carol@example.com", Some(TOKEN)).await.unwrap();
}

use domain::tenancy::{Role, RoleName};
use domain::version::Expected;

use super::*;
use crate::testing::World;
use crate::{NewMember, NewSignIn, NewToken};

const IDLE: TimeDelta = TimeDelta::hours(12);

async fn member(world: &World, name: &str, role: RoleName) -> AccountId {
    let new = NewMember { email: format!("{name}@example.org"), display_name: name.into(), role };
    world.store.member_add(world.org, &new, "role:test").await.unwrap().unwrap().account_id
}

/// Of an account; each has a number of its own.
async fn token(world: &World, account: AccountId, number: u8, expires_at: Option<Timestamp>) -> TokenId {
    let new = NewToken {
        account,
        name: "laptop".into(),
        hash: [number; 32],
        prefix: "cow_aaaa".into(),
        last_four: "aaaa".into(),
        scopes: vec![Scope::Read],
        expires_at,
    };
    world.store.token_create(world.org, &new, "role:test").await.unwrap().unwrap().token_id
}

async fn standing(world: &World, credential: Credential) -> Option<Standing> {
    let whom = (world.org, credential);
    world.store.credential_standings(&[whom], IDLE).await.unwrap().remove(&whom)
}

#[tokio::test]
async fn of_many_tokens_those_in_force_stand_each_for_itself() {
    let world = World::new().await;
    let ada = member(&world, "ada", Role::Owner.into()).await;
    let bob = member(&world, "bob", Role::Member.into()).await;
    let soon = world.store.sources().now() + TimeDelta::hours(1);
    let lasting = token(&world, ada, 1, None).await;
    let ending = token(&world, ada, 2, Some(soon)).await;
    let revoked = token(&world, ada, 3, None).await;
    let of_who_left = token(&world, bob, 4, None).await;
    world.store.token_revoke(world.org, revoked, None, "role:test").await.unwrap();
    world.store.member_remove(world.org, bob, &Expected::Anything, "role:test").await.unwrap();

    let elsewhere = world.store.org_create("Other", "role:test").await.unwrap().org_id;
    let all = [lasting, ending, revoked, of_who_left].map(|token| (world.org, Credential::Token(token)));
    let foreign = (elsewhere, Credential::Token(lasting));
    let asked: Vec<_> = all.into_iter().chain([foreign]).collect();
    let found = world.store.credential_standings(&asked, IDLE).await.unwrap();
    assert_eq!(found.len(), 2, "{found:?}");
    let stands = |ends_at| Standing { permissions: Role::Owner.permissions(), scopes: vec![Scope::Read], ends_at };
    assert_eq!((found.get(&all[0]), found.get(&all[1])), (Some(&stands(None)), Some(&stands(Some(soon)))));

    world.clock.advance(TimeDelta::hours(1));
    let found = world.store.credential_standings(&asked, IDLE).await.unwrap();
    assert_eq!(found.into_keys().collect::<Vec<_>>(), [all[0]]);
}

#[tokio::test]
async fn a_standing_follows_the_role_and_permits_nothing_without_one() {
    let world = World::new().await;
    let ada = member(&world, "ada", RoleName::Custom("readers".into())).await;
    let token = Credential::Token(token(&world, ada, 1, None).await);
    assert_eq!(standing(&world, token).await.unwrap().permissions, Permissions::default());
    let permissions = Role::Viewer.permissions();
    world.store.role_put(world.org, "readers", permissions, &Expected::Anything, "role:test").await.unwrap().unwrap();
    assert_eq!(standing(&world, token).await.unwrap().permissions, permissions);
}

#[tokio::test]
async fn to_be_asked_about_is_no_use_of_a_browser_session() {
    let world = World::new().await;
    member(&world, "ada", Role::Owner.into()).await;
    let new = NewSignIn {
        issuer: "https://login.example".into(),
        subject: "ada".into(),
        verified_email: Some("ada@example.org".into()),
        org: None,
        invitation: None,
        session_hash: [1; 32],
        sign_in_hash: [1; 32],
        replaces: None,
        user_agent: "a browser".into(),
        expires_at: world.store.sources().now() + TimeDelta::days(7),
    };
    let session = Credential::BrowserSession(world.store.sign_in(&new).await.unwrap().session);
    let ends_at = world.store.sources().now() + IDLE;
    world.clock.advance(IDLE - TimeDelta::seconds(1));
    let stands = standing(&world, session).await.unwrap();
    assert_eq!((stands.permissions, stands.ends_at), (Role::Owner.permissions(), Some(ends_at)));
    world.clock.advance(TimeDelta::seconds(1));
    assert_eq!(standing(&world, session).await, None, "nobody used it");
}

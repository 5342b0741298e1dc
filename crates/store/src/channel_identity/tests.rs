use domain::channel::ChannelKind;
use domain::chat::NotAllowed;
use domain::tenancy::Role;
use domain::version::Expected;

use super::*;
use crate::testing::World;
use crate::{AuditFilter, ChannelChange, ErasedFor, InboundError, InboundMessage, NewChannel, NewMember, Received};

pub(crate) async fn channel(world: &World) -> Channel {
    let new = NewChannel {
        org: world.org,
        kind: ChannelKind::Webhook,
        name: "ops".into(),
        destination: "https://chat.example/hook".parse().unwrap(),
        secret_version: "1".into(),
        deduplicates: true,
    };
    world.store.channel_create(&new, "role:test").await.unwrap()
}

pub(crate) fn sender(external_id: &str) -> Sender {
    let mut digest = [0; 32];
    digest[..external_id.len()].copy_from_slice(external_id.as_bytes());
    Sender { external_id: external_id.into(), name: "Ada".into(), digest }
}

pub(crate) async fn member(world: &World, role: Role) -> AccountId {
    let email = format!("{}@example.org", world.store.sources().id::<uuid::Uuid>());
    let new = NewMember { email, display_name: "Ada".into(), role: role.into() };
    world.store.member_add(world.org, &new, "role:test").await.unwrap().unwrap().account_id
}

async fn write_as(world: &World, channel: &Channel, sender: Option<Sender>) -> Result<Received, InboundError> {
    let id: uuid::Uuid = world.store.sources().id();
    let message = InboundMessage {
        provider_event_id: id.to_string(),
        thread: "general".into(),
        text: "hello".into(),
        sender,
        digest: world.store.sources().bytes(),
    };
    world.store.inbound_receive(1, channel, &message).await
}

async fn all(world: &World) -> Vec<ChannelIdentity> {
    world.store.channel_identity_list(world.org, None, None, None, 2_000).await.unwrap()
}

fn refused(written: Result<Received, InboundError>) -> NotAllowed {
    match written {
        Err(InboundError::NotAllowed(why)) => why,
        other => panic!("{other:?}"),
    }
}

/// What is said of somebody, by somebody who looks at nothing before.
pub(crate) async fn say(world: &World, identity: ChannelIdentityId, change: IdentityChange) -> ChannelIdentity {
    let said = world.store.channel_identity_change(world.org, identity, &change, &Expected::Anything, "role:test");
    said.await.unwrap()
}

#[tokio::test]
async fn a_channel_that_was_not_told_otherwise_takes_prompts_of_anybody() {
    let world = World::new().await;
    let channel = channel(&world).await;
    write_as(&world, &channel, None).await.unwrap();
    write_as(&world, &channel, Some(sender("ada"))).await.unwrap();
    let found = all(&world).await;
    assert_eq!((found.len(), &*found[0].external_id, found[0].state), (1, "ada", IdentityState::Pending));
}

#[tokio::test]
async fn where_only_known_people_prompt_a_message_of_another_leaves_their_row_and_nothing_else() {
    let world = World::new().await;
    let channel = channel(&world).await;
    let change = ChannelChange { unknown_may_prompt: Some(false), ..ChannelChange::default() };
    let changed = world.store.channel_change(world.org, channel.channel_id, &change, &Expected::Anything, "role:test");
    let channel = changed.await.unwrap();
    assert_eq!(refused(write_as(&world, &channel, None).await), NotAllowed::Unnamed);
    assert_eq!(refused(write_as(&world, &channel, Some(sender("ada"))).await), NotAllowed::Unknown);
    assert!(world.store.binding_list(world.org, None, 10).await.unwrap().is_empty());
    let ada = all(&world).await.remove(0);
    let change = IdentityChange { account: None, may_prompt: true, may_decide: false, state: IdentityState::Active };
    say(&world, ada.channel_identity_id, change).await;
    write_as(&world, &channel, Some(sender("ada"))).await.unwrap();
}

#[tokio::test]
async fn in_the_audit_trail_a_prompt_from_a_chat_is_the_gateways_until_somebody_says_who_wrote() {
    let world = World::new().await;
    let channel = channel(&world).await;
    write_as(&world, &channel, None).await.unwrap();
    write_as(&world, &channel, Some(sender("ada"))).await.unwrap();
    let ada = all(&world).await.remove(0).channel_identity_id;
    let account = member(&world, Role::Member).await;
    let change =
        IdentityChange { account: Some(account), may_prompt: true, may_decide: false, state: IdentityState::Active };
    say(&world, ada, change).await;
    let received = write_as(&world, &channel, Some(sender("ada"))).await.unwrap();
    let filter = AuditFilter { action: Some("session.prompt".into()), ..AuditFilter::default() };
    let (told, _) = world.store.audit_list(world.org, &filter, 0, 10).await.unwrap();
    let who: Vec<_> = told.iter().map(|told| (&*told.actor, &told.detail["channel_identity_id"])).collect();
    let (by, ada) = (format!("account:{account}"), json!(ada));
    assert_eq!(who, [("role:gateway", &json!(null)), ("role:gateway", &ada), (&*by, &ada)]);
    let last = &told[2].detail;
    assert_eq!((&last["command_id"], &last["channel_id"]), (&json!(received.command), &json!(channel.channel_id)));
    assert!(!last.to_string().contains("hello"), "{last}");
}

#[tokio::test]
async fn who_was_disabled_prompts_nowhere_and_an_erased_member_is_nobody_in_chats() {
    let world = World::new().await;
    let channel = channel(&world).await;
    write_as(&world, &channel, Some(sender("ada"))).await.unwrap();
    let ada = all(&world).await.remove(0).channel_identity_id;
    let account = member(&world, Role::Member).await;
    let change =
        IdentityChange { account: Some(account), may_prompt: true, may_decide: true, state: IdentityState::Disabled };
    say(&world, ada, change).await;
    assert_eq!(refused(write_as(&world, &channel, Some(sender("ada"))).await), NotAllowed::Disabled);
    let told = world.store.outbox_list(world.store.sources().now(), 10).await.unwrap();
    let identity = sender("ada").digest;
    assert!(told.iter().any(|row| row.effect == Effect::IdentityRestricted { org: world.org, identity }));

    world.store.subject_erase(account, ErasedFor::Installation, "role:test").await.unwrap();
    assert_eq!(all(&world).await, []);
}

#[tokio::test]
async fn no_channel_has_more_people_of_whom_nobody_said_anything_than_it_may() {
    let world = World::new().await;
    let channel = channel(&world).await;
    let org = uuid::Uuid::from(world.org);
    let fill = "INSERT INTO channel_identities (org_id, channel_identity_id, channel_id, external_id, name, digest, may_prompt,
            may_decide, state, created_at, changed_at)
        SELECT $1, ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, $2, 'u-' || n, '',
            sha256(n::text::bytea), false, false, CASE n WHEN 1 THEN 'active' ELSE 'pending' END, now(), now()
        FROM generate_series(1, 1001) AS n";
    let fill = sqlx::query(fill).bind(org).bind(uuid::Uuid::from(channel.channel_id));
    fill.execute(&world.store.pool).await.unwrap();
    write_as(&world, &channel, Some(sender("ada"))).await.unwrap();
    let found = all(&world).await;
    let has = |name: &str| found.iter().any(|one| one.external_id == name);
    assert_eq!(found.len(), 1_001, "the newest 1000 that are pending, and the one that is not");
    assert!(has("u-1") && has("ada") && has("u-3") && !has("u-2"));
}

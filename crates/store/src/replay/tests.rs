use std::collections::HashMap;

use chrono::TimeDelta;
use domain::channel::{ChannelKind, DeliveryState};
use domain::schedule::OverlapPolicy;
use domain::tenancy::{Role, Scope};
use domain::version::Expected;
use ids::{BindingId, SessionId};
use ledger::{DeliveryFact, DeliveryVerdict};
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::testing::World;
use crate::{
    ByokError, Call, Called, ErasedFor, ErasureStep, NewBinding, NewByokKey, NewByokSecret, NewChannel, NewMember,
    NewSignIn, NewToken,
};

struct Restored {
    world: World,
    channel: ChannelId,
    binding: BindingId,
}

async fn restored() -> Restored {
    let world = World::new().await;
    let session: SessionId = world.session().await;
    let destination = "https://chat.example/hook".parse().unwrap();
    let new = NewChannel {
        org: world.org,
        kind: ChannelKind::Webhook,
        name: "ops".into(),
        destination,
        secret_version: "1".into(),
        deduplicates: true,
    };
    let channel = world.store.channel_create(&new, "role:test").await.unwrap().channel_id;
    let new = NewBinding { org: world.org, channel, thread: "general".into(), session };
    let binding = world.store.binding_create(&new, "role:test").await.unwrap().binding_id;
    Restored { world, channel, binding }
}

impl Restored {
    fn now(&self) -> Timestamp {
        self.world.store.sources().now()
    }

    /// A delivery that waits in the backup.
    async fn pending(&self, place: i64) -> DeliveryId {
        let delivery: DeliveryId = self.world.store.sources().id();
        sqlx::query(
            "INSERT INTO deliveries (org_id, delivery_id, channel_id, binding_id, sequence, payload, state, next_attempt_at,
                created_at)
            VALUES ($1, $2, $3, $4, $5, '{}', 'pending', $6, $6)",
        )
        .bind(Uuid::from(self.world.org))
        .bind(Uuid::from(delivery))
        .bind(Uuid::from(self.channel))
        .bind(Uuid::from(self.binding))
        .bind(place)
        .bind(self.now())
        .execute(&self.world.store.pool)
        .await
        .unwrap();
        delivery
    }

    fn note(&self, delivery: DeliveryId) -> DeliveryNote {
        DeliveryNote {
            org: self.world.org,
            delivery,
            intents: 1,
            not_sent: 0,
            dead: 0,
            sent: false,
            repeats_are_seen: false,
            at: self.now(),
            dead_at: None,
        }
    }

    fn dead(&self, delivery: DeliveryId, at: Timestamp) -> DeliveryNote {
        DeliveryNote { dead: 1, at, dead_at: Some(at), ..self.note(delivery) }
    }

    fn other(&self, what: Other) -> OtherNote {
        OtherNote { what, at: self.now() }
    }

    async fn state(&self, delivery: DeliveryId) -> DeliveryState {
        self.world.store.delivery_find(self.world.org, delivery).await.unwrap().unwrap().state
    }

    /// As a restore does it, but for reading the ledger.
    async fn replay(&self, generation: i64, notes: &Notes) -> Replayed {
        let mut replay = self.world.store.replay().await.unwrap();
        // Told twice, in two batches: it adds up to the same.
        for _ in 0..2 {
            replay.note(notes).await.unwrap();
        }
        let replayed = replay.apply(generation, Extent { as_of: Some(self.now()), complete: true }).await.unwrap();
        let beginning =
            Beginning { generation, backup: self.world.store.sources().id(), environment: Environment::Production };
        let begun = replay.begin_generation(beginning, &json!({"replayed": replayed})).await.unwrap();
        assert_eq!(begun.generation, generation);
        replayed
    }
}

#[tokio::test]
async fn a_delivery_becomes_what_the_ledger_knows_of_it() {
    let restored = restored().await;
    let mut deliveries = Vec::new();
    for place in 1..=5 {
        deliveries.push(restored.pending(place).await);
    }
    let note = |place: usize| restored.note(deliveries[place]);
    let told = vec![
        DeliveryNote { sent: true, ..note(0) },
        restored.dead(deliveries[1], restored.now()),
        DeliveryNote { repeats_are_seen: true, ..note(2) },
        DeliveryNote { intents: 3, ..note(3) },
    ];
    let replayed = restored.replay(2, &Notes { deliveries: told, ..Notes::default() }).await;
    assert_eq!(replayed.deliveries, DeliveriesReplayed { sent: 1, dead: 1, unknown: 1, again: 1 });
    let mut states = Vec::new();
    for delivery in &deliveries {
        states.push(restored.state(*delivery).await);
    }
    use DeliveryState::{Dead, Pending, Sent, Unknown};
    assert_eq!(states, [Sent, Dead, Unknown, Pending, Pending]);
    let claimed = restored.world.store.delivery_claim(2, 10, chrono::TimeDelta::seconds(30)).await.unwrap().deliveries;
    let again = claimed.iter().find(|claim| claim.delivery_id == deliveries[3]).unwrap();
    assert_eq!(again.sending, 3, "the numbers of the lost system's sendings are not used again");
    assert_eq!(replayed.remembered, Remembered::default());
}

#[tokio::test]
async fn the_database_adds_deliveries_up_as_the_ledger_does() {
    let restored = restored().await;
    // Three attempts and the last bit, which many share; each fact told in two notes that know a part each.
    let bits = [0, 1, 2, 3, 4, 5, 6, 7, 1 << 63, (1 << 63) | 2];
    let (mut expected, mut notes) = (HashMap::new(), [Notes::default(), Notes::default()]);
    for (intents, not_sent, dead) in bits.iter().flat_map(|i| bits.map(|n| bits.map(|d| (*i, n, d)))).flatten() {
        for (sent, repeats_are_seen) in [(false, false), (false, true), (true, true)] {
            let delivery: DeliveryId = restored.world.store.sources().id();
            let fact = DeliveryFact { intents, not_sent, dead, sent, repeats_are_seen, message: None };
            let at = restored.now();
            let whole = DeliveryNote { intents, not_sent, dead, sent, repeats_are_seen, ..restored.dead(delivery, at) };
            let low = |bits: u64| bits & 0b101;
            let part = DeliveryNote {
                intents: low(intents),
                not_sent: not_sent & !low(not_sent),
                dead: low(dead),
                sent: false,
                ..whole
            };
            let rest = DeliveryNote {
                intents: intents & !low(intents),
                not_sent: low(not_sent),
                dead: dead & !low(dead),
                repeats_are_seen: false,
                ..whole
            };
            notes[0].deliveries.push(part);
            notes[1].deliveries.push(rest);
            let sendings = u64::BITS - (intents | not_sent | dead).leading_zeros();
            expected.insert(Uuid::from(delivery), (state_of(&fact).to_owned(), sendings.cast_signed()));
        }
    }
    let mut replay = restored.world.store.replay().await.unwrap();
    for notes in &notes {
        replay.note(notes).await.unwrap();
    }
    replay.apply(2, Extent { as_of: None, complete: true }).await.unwrap();
    let rows: Vec<(Uuid, String, i32)> =
        sqlx::query_as("SELECT effect_id, state, sendings FROM remembered_effects WHERE kind = 'delivery'")
            .fetch_all(&mut *replay.tx)
            .await
            .unwrap();
    let remembered: HashMap<_, _> = rows.into_iter().map(|(id, state, sendings)| (id, (state, sendings))).collect();
    assert_eq!(remembered, expected);
}

fn state_of(fact: &DeliveryFact) -> &'static str {
    match fact.verdict() {
        DeliveryVerdict::Sent => "sent",
        DeliveryVerdict::Dead => "dead",
        DeliveryVerdict::Unknown { deduplicates: true } => "again",
        DeliveryVerdict::Unknown { deduplicates: false } => "unknown",
        DeliveryVerdict::NotSent => "not_sent",
    }
}

#[tokio::test]
async fn a_dead_letter_that_was_revived_before_the_backup_goes_out() {
    let restored = restored().await;
    let delivery = restored.pending(1).await;
    let before = restored.now() - chrono::TimeDelta::minutes(30);
    let notes = Notes { deliveries: vec![restored.dead(delivery, before)], ..Notes::default() };
    restored.replay(2, &notes).await;
    assert_eq!(restored.state(delivery).await, DeliveryState::Pending);
}

#[tokio::test]
async fn what_no_row_stands_for_is_remembered() {
    let restored = restored().await;
    let (store, org) = (&restored.world.store, restored.world.org);
    let sent = DeliveryNote { sent: true, ..restored.note(store.sources().id()) };
    let inbound = Other::InboundAccepted { org, inlet: restored.channel.into(), event: [7; 32] };
    let used = Other::InteractionUsed { org, interaction: [8; 32] };
    let others = vec![restored.other(inbound), restored.other(used)];
    let notes = Notes { deliveries: vec![sent], others, ..Notes::default() };
    let replayed = restored.replay(2, &notes).await;
    assert_eq!(replayed.remembered, Remembered { deliveries: 1, deliveries_unknown: 0, inbound: 1, interactions: 1 });
    assert_eq!(replayed.lost.deliveries, 1);
    let again = restored.replay(3, &notes).await;
    assert_eq!(again.remembered, replayed.remembered);
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM remembered_effects").fetch_one(&store.pool).await.unwrap();
    assert_eq!(rows, 3);
    assert_eq!(store.restore_report(3).await.unwrap().unwrap()["replayed"]["lost"]["deliveries"], 1);
}

#[tokio::test]
async fn a_later_restore_replaces_what_an_earlier_one_remembered() {
    let restored = restored().await;
    let store = &restored.world.store;
    let (settled, forgotten) = (restored.note(store.sources().id()), restored.note(store.sources().id()));
    let unknown = [settled, forgotten].map(|note| DeliveryNote { intents: 7, repeats_are_seen: true, ..note });
    let first = restored.replay(2, &Notes { deliveries: unknown.to_vec(), ..Notes::default() }).await;
    assert_eq!(first.remembered, Remembered { deliveries_unknown: 2, ..Remembered::default() });

    let fresh = DeliveryNote { sent: true, ..restored.note(store.sources().id()) };
    let sent = vec![DeliveryNote { sent: true, ..settled }, fresh];
    let second = restored.replay(3, &Notes { deliveries: sent, ..Notes::default() }).await;
    assert_eq!(second.remembered, Remembered { deliveries: 2, ..Remembered::default() });
    let rows: Vec<(String, i64, i32)> =
        sqlx::query_as("SELECT state, generation, sendings FROM remembered_effects ORDER BY generation, sendings")
            .fetch_all(&store.pool)
            .await
            .unwrap();
    let row = |state: &str, generation, sendings| (state.to_owned(), generation, sendings);
    assert_eq!(rows, [row("unknown", 2, 3), row("sent", 3, 1), row("sent", 3, 3)]);
}

#[tokio::test]
async fn a_slot_that_fired_or_may_have_fired_has_a_row_and_starts_nothing() {
    let restored = restored().await;
    let (store, org) = (&restored.world.store, restored.world.org);
    let workflow = restored.world.workflow(OverlapPolicy::Allow, Vec::new()).await;
    let at = restored.now();
    let slot = |workflow, seconds, fired| {
        let due_at = at + chrono::TimeDelta::seconds(seconds);
        SlotNote { org, workflow, due_at, fired, at }
    };
    let slots = vec![
        slot(workflow, 1, false),
        slot(workflow, 1, true),
        slot(workflow, 2, false),
        slot(store.sources().id(), 3, true),
    ];
    let replayed = restored.replay(2, &Notes { slots: slots.clone(), ..Notes::default() }).await;
    assert_eq!(replayed.slots, SlotsReplayed { fired: 1, unknown: 1 });
    assert_eq!((replayed.lost.runs, replayed.lost.slots), (1, 1));
    let listed = store.slot_list(org, workflow, None, 10).await.unwrap();
    let states: Vec<&str> = listed.iter().map(|slot| slot.state.as_str()).collect();
    assert_eq!(states, ["unknown", "fired"]);
    let again = restored.replay(3, &Notes { slots, ..Notes::default() }).await;
    assert_eq!(again.slots, SlotsReplayed::default(), "a slot that has a row keeps it");
}

#[tokio::test]
async fn the_secrets_of_a_trigger_that_were_void_stay_so_and_newer_ones_are_not_touched() {
    let restored = restored().await;
    let (store, org) = (&restored.world.store, restored.world.org);
    let workflow =
        restored.world.workflow(OverlapPolicy::Allow, vec![restored.world.webhook(), restored.world.webhook()]).await;
    let triggers = store.trigger_list(org, &[workflow]).await.unwrap();
    let [one, other] = [triggers[0].trigger_id, triggers[1].trigger_id];
    for _ in 0..3 {
        store.trigger_rotate_secret(org, workflow, other, "1", TimeDelta::hours(1), "role:test").await.unwrap();
    }
    let rotated =
        |trigger, version: &str| restored.other(Other::TriggerRotated { org, trigger, version: version.to_owned() });
    let others = vec![rotated(one, "0000000010"), rotated(one, "0000000009"), rotated(other, "0000000003")];
    let notes = Notes { others, ..Notes::default() };
    assert_eq!(restored.replay(2, &notes).await.triggers_rotated, 1);
    assert_eq!(restored.replay(3, &notes).await.triggers_rotated, 0);
    let numbers = [store.call_find(one).await.unwrap(), store.call_find(other).await.unwrap()];
    assert_eq!(numbers.map(|found| found.unwrap().secret.number), [10, 4]);
}

#[tokio::test]
async fn a_key_whose_secret_was_replaced_is_out_of_force_and_one_that_is_as_new_is_not_touched() {
    let restored = restored().await;
    let (store, org) = (&restored.world.store, restored.world.org);
    let secret = || NewByokSecret {
        last_four: "abcd".into(),
        ciphertext: vec![1],
        wrapped_key: vec![2],
        key_version: "1".into(),
    };
    let mut keys = Vec::new();
    for label in ["old", "new"] {
        let byok_key_id: ByokKeyId = store.sources().id();
        let new = NewByokKey { byok_key_id, provider: "openai".into(), label: label.into(), secret: secret() };
        store.byok_create(org, &new, "role:test").await.unwrap();
        keys.push(byok_key_id);
    }
    let [old, new] = [keys[0], keys[1]];
    store.byok_rotate(org, new, &secret(), &Expected::Anything, "role:test").await.unwrap();
    let rotated = |key, version: &str| restored.other(Other::KeyRotated { org, key, version: version.to_owned() });
    let others = vec![rotated(old, "0000000003"), rotated(old, "0000000002"), rotated(new, "0000000002")];
    let notes = Notes { others, ..Notes::default() };
    let attention = restored.replay(2, &notes).await.attention;
    assert_eq!(attention.len(), 1, "{attention:?}");
    assert!(attention[0].contains(&old.to_string()) && attention[0].contains("number 3 "), "{attention:?}");
    assert_eq!(restored.replay(3, &notes).await.attention, Vec::<String>::new());
    let in_force = store.byok_sealed_list(None, 10).await.unwrap();
    assert_eq!(in_force.iter().map(|key| key.byok_key_id).collect::<Vec<_>>(), [new]);
    let again = store.byok_rotate(org, old, &secret(), &Expected::Anything, "role:test").await;
    assert!(matches!(again, Err(ByokError::Revoked)));
}

#[tokio::test]
async fn a_call_that_the_lost_system_took_starts_no_second_run() {
    let restored = restored().await;
    let (store, org) = (&restored.world.store, restored.world.org);
    let workflow = restored.world.workflow(OverlapPolicy::Allow, vec![restored.world.webhook()]).await;
    let trigger = store.trigger_list(org, &[workflow]).await.unwrap()[0].trigger_id;
    let taken = Other::InboundAccepted { org, inlet: trigger.into(), event: [7; 32] };
    restored.replay(2, &Notes { others: vec![restored.other(taken)], ..Notes::default() }).await;
    let called = store.call_find(trigger).await.unwrap().unwrap();
    let call = |event: &str, digest| Call { provider_event_id: event.to_owned(), data: None, digest };
    let again = store.call_receive(2, &called, &call("e1", [7; 32])).await.unwrap();
    assert_eq!(again, Called { run: None, skipped: None, duplicate: true });
    assert!(store.run_list(org, Some(workflow), None, 10).await.unwrap().is_empty());
    assert!(store.call_receive(2, &called, &call("e2", [8; 32])).await.unwrap().run.is_some());
}

#[tokio::test]
async fn what_was_taken_out_of_force_stays_out_of_force() {
    let restored = restored().await;
    let (store, org) = (&restored.world.store, restored.world.org);
    let mut members = Vec::new();
    for name in ["one", "two"] {
        let email = format!("{name}@example.org");
        let new = NewMember { email, display_name: name.into(), role: Role::Member.into() };
        members.push(store.member_add(org, &new, "role:test").await.unwrap().unwrap().account_id);
    }
    let new = NewToken {
        account: members[0],
        name: "t".into(),
        hash: [9; 32],
        prefix: "cow_abcd".into(),
        last_four: "abcd".into(),
        scopes: vec![Scope::Read],
        expires_at: None,
    };
    let token = store.token_create(org, &new, "role:test").await.unwrap().unwrap().token_id;
    let before = restored.now() - chrono::TimeDelta::minutes(1);
    let others = vec![
        restored.other(Other::TokenRevoked { org, token }),
        restored.other(Other::TokenRevoked { org, token: store.sources().id() }),
        OtherNote { what: Other::MemberRemoved { org, account: members[1] }, at: before },
    ];
    let replayed = restored.replay(2, &Notes { others: others.clone(), ..Notes::default() }).await;
    assert_eq!((replayed.tokens_revoked, replayed.lost.tokens), (1, 1));
    assert_eq!(replayed.members_removed, 0, "somebody who came back after that stays");
    assert_eq!(store.token_identify(&[9; 32]).await.unwrap(), None);

    let removed = vec![restored.other(Other::MemberRemoved { org, account: members[1] })];
    let replayed = restored.replay(3, &Notes { others: removed, ..Notes::default() }).await;
    assert_eq!(replayed.members_removed, 1);
    assert_eq!(store.member_get(org, members[1]).await.unwrap(), None);
}

#[tokio::test]
async fn who_was_signed_out_stays_signed_out() {
    let restored = restored().await;
    let (store, org) = (&restored.world.store, restored.world.org);
    let new = NewMember { email: "one@example.org".into(), display_name: "One".into(), role: Role::Member.into() };
    let account = store.member_add(org, &new, "role:test").await.unwrap().unwrap().account_id;
    for number in [1, 2] {
        let new = NewSignIn {
            issuer: "https://login.example".into(),
            subject: "s-1".into(),
            verified_email: Some(new.email.clone()),
            org: None,
            invitation: None,
            session_hash: [number; 32],
            sign_in_hash: [number; 32],
            replaces: None,
            user_agent: String::new(),
            expires_at: restored.now() + chrono::TimeDelta::days(1),
        };
        store.sign_in(&new).await.unwrap();
    }
    let ended = |session| restored.other(Other::SessionRevoked { account, session: [session; 32] });
    // The first is in the backup, the third began and ended after it.
    let notes = Notes { others: vec![ended(1), ended(3)], ..Notes::default() };
    let replayed = restored.replay(2, &notes).await;
    assert_eq!((replayed.browser_sessions_revoked, replayed.lost.browser_sessions), (1, 1));
    let idle = chrono::TimeDelta::hours(1);
    assert_eq!(store.browser_session_identify(&[1; 32], idle).await.unwrap(), None);
    assert!(store.browser_session_identify(&[2; 32], idle).await.unwrap().is_some(), "this one was not ended");
}

#[tokio::test]
async fn people_in_chats_from_whom_something_was_taken_after_the_backup_are_disabled() {
    let restored = restored().await;
    let (store, org) = (&restored.world.store, restored.world.org);
    let channel = crate::channel_identity::tests::channel(&restored.world).await;
    let write = async |who: &str| {
        let message = crate::InboundMessage {
            provider_event_id: store.sources().id::<uuid::Uuid>().to_string(),
            thread: "general".into(),
            text: "hello".into(),
            sender: Some(crate::channel_identity::tests::sender(who)),
            digest: store.sources().bytes(),
        };
        store.inbound_receive(1, &channel, &message).await
    };
    write("ada").await.unwrap();
    write("bob").await.unwrap();
    let taken = |who: &str| {
        let identity = crate::channel_identity::tests::sender(who).digest;
        restored.other(Other::IdentityRestricted { org, identity })
    };
    let notes = Notes { others: vec![taken("ada"), taken("ada"), taken("eve")], ..Notes::default() };
    assert_eq!(restored.replay(2, &notes).await.identities_disabled, 1);
    assert!(write("ada").await.is_err());
    assert!(write("eve").await.is_err(), "who was not in the backup");
    write("bob").await.unwrap();
}

#[tokio::test]
async fn a_channel_that_was_closed_after_the_backup_is_closed_again_and_nothing_waits_for_it() {
    let restored = restored().await;
    let (store, org, channel) = (&restored.world.store, restored.world.org, restored.channel);
    let mut deliveries = Vec::new();
    for place in 1..=4 {
        deliveries.push(restored.pending(place).await);
    }
    let note = |place: usize| restored.note(deliveries[place]);
    let told = vec![
        DeliveryNote { sent: true, ..note(0) },
        // One that was in hand at the closing, and one that was not sent then.
        note(1),
        DeliveryNote { not_sent: 1, ..note(2) },
    ];
    let nobodys: ChannelId = store.sources().id();
    let closed = |channel| restored.other(Other::ChannelClosed { org, channel });
    let notes = Notes { deliveries: told, others: vec![closed(channel), closed(nobodys)], ..Notes::default() };
    let replayed = restored.replay(2, &notes).await;
    assert_eq!((replayed.channels_closed, replayed.lost.channels), (1, 1));
    assert_eq!(replayed.deliveries, DeliveriesReplayed { sent: 1, dead: 1, unknown: 1, again: 0 });
    let mut states = Vec::new();
    for delivery in &deliveries {
        states.push(restored.state(*delivery).await);
    }
    use DeliveryState::{Dead, Sent, Unknown};
    assert_eq!(states, [Sent, Unknown, Dead, Dead]);

    assert!(store.channel_find(channel).await.unwrap().is_none());
    assert!(store.channel_get(org, channel).await.unwrap().unwrap().closed_at.is_some());
    assert!(store.binding_list(org, None, 10).await.unwrap().is_empty());
    let bound: i64 = sqlx::query_scalar("SELECT count(*) FROM bindings WHERE thread IS NOT NULL")
        .fetch_one(&store.pool)
        .await
        .unwrap();
    assert_eq!(bound, 0);
    assert_eq!(restored.replay(3, &notes).await.channels_closed, 0, "it is closed already");
}

#[tokio::test]
async fn an_erased_subject_is_counted_once_its_rows_are_erased_again() {
    let restored = restored().await;
    let store = &restored.world.store;
    let new = NewMember { email: "one@example.org".into(), display_name: "One".into(), role: Role::Member.into() };
    let account = store.member_add(restored.world.org, &new, "role:test").await.unwrap().unwrap().account_id;
    let erased = |account| restored.other(Other::SubjectErased { account });
    let notes = Notes { others: vec![erased(account), erased(store.sources().id())], ..Notes::default() };
    store.subject_erase(account, ErasedFor::Installation, "role:restore").await.unwrap();
    while store.subject_erasure_step(account).await.unwrap() != ErasureStep::Finished {}
    let replayed = restored.replay(2, &notes).await;
    assert_eq!((replayed.subjects_erased, replayed.lost.subjects), (1, 1));
}

#[tokio::test]
async fn a_replay_that_is_given_up_leaves_nothing_behind() {
    let restored = restored().await;
    let delivery = restored.pending(1).await;
    let store = &restored.world.store;
    let note = DeliveryNote { sent: true, ..restored.note(delivery) };
    let notes = Notes { deliveries: vec![note], ..Notes::default() };
    let mut replay = store.replay().await.unwrap();
    replay.note(&notes).await.unwrap();
    assert_eq!(replay.apply(2, Extent { as_of: None, complete: true }).await.unwrap().deliveries.sent, 1);
    drop(replay);
    assert_eq!(restored.state(delivery).await, DeliveryState::Pending);
    assert_eq!(store.generation_current().await.unwrap().unwrap().generation, 1);
    assert_eq!(store.restore_name().await.unwrap(), store.restore_name().await.unwrap());
    assert_eq!(restored.replay(2, &notes).await.deliveries.sent, 1);
    assert_eq!(store.restore_mark().await.unwrap(), crate::RestoreMark::default());
}

#[tokio::test]
async fn a_key_that_was_rotated_after_the_backup_is_the_current_one() {
    let restored = restored().await;
    let (store, clock) = (&restored.world.store, &restored.world.clock);
    let current = async || store.key_rotation_current().await.unwrap().map(|rotation| rotation.version);
    let rotated = |version: &str, at| OtherNote { what: Other::AdapterRotated { version: version.into() }, at };
    store.key_rotate("2", "role:test").await.unwrap();
    let before = restored.now() - chrono::TimeDelta::minutes(1);
    clock.advance(chrono::TimeDelta::minutes(1));

    let older = Notes { others: vec![rotated("1", before)], ..Notes::default() };
    assert!(restored.replay(2, &older).await.attention.is_empty());
    assert_eq!(current().await.as_deref(), Some("2"), "the rows know better");

    let newer = Notes { others: vec![rotated("3", restored.now())], ..Notes::default() };
    let attention = restored.replay(3, &newer).await.attention;
    assert!(attention.len() == 1 && attention[0].contains("rotated to version 3"), "{attention:?}");
    assert_eq!(current().await.as_deref(), Some("3"));
    assert!(restored.replay(4, &newer).await.attention.is_empty());
}

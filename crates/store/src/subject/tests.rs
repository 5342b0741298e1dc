use std::collections::BTreeSet;

use domain::channel::ChannelKind;
use domain::command::{CommandState, Wish};
use domain::details::Tags;
use domain::event::{Event, MessageRole, prompt_message_id};
use domain::projection::{Projection, SessionState};
use domain::tenancy::{Role, Scope};
use domain::version::Expected;
use ids::{ChannelId, CommandId};
use sqlx::AssertSqlSafe;

use super::*;
use crate::testing::World;
use crate::{
    Append, BlobRow, Enqueued, Finish, Lease, NewArtifact, NewBinding, NewChannel, NewCheckpoint, NewCommand,
    NewMember, NewSession, NewToken, SessionChange,
};

/// In every text that the subject wrote, and in every one that tells of it.
const PRIVATE: &str = "quince";

struct Subject {
    world: World,
    account: AccountId,
    /// The one before anybody.
    owner: AccountId,
}

async fn subject() -> Subject {
    let world = World::new().await;
    let owner = member(&world, "owner@example.org", "Owner", Role::Owner).await;
    let account = member(&world, "quince@example.org", "Quince", Role::Member).await;
    let token = NewToken {
        account,
        name: "quince's".into(),
        hash: [7; 32],
        prefix: "cow_quin".into(),
        last_four: "quin".into(),
        scopes: vec![Scope::Read],
        expires_at: None,
    };
    world.store.token_create(world.org, &token, "role:test").await.unwrap().unwrap();
    Subject { world, account, owner }
}

async fn member(world: &World, email: &str, name: &str, role: Role) -> AccountId {
    let new = NewMember { email: email.into(), display_name: name.into(), role: role.into() };
    world.store.member_add(world.org, &new, "role:test").await.unwrap().unwrap().account_id
}

fn blob(key: &str) -> BlobRow {
    BlobRow { key: key.into(), size: 1, sha256: vec![0; 32] }
}

fn says(role: MessageRole, text: &str) -> Event {
    Event::MessageAppended { message_id: format!("m-{}", text.len()), role, text: text.into() }
}

impl Subject {
    async fn session(&self, by: AccountId, title: &str) -> SessionId {
        let new =
            NewSession { org: self.world.org, created_by: Some(by), title: title.into(), agent: "scripted".into() };
        self.world.store.session_create(1, &new).await.unwrap()
    }

    async fn prompt(&self, session: SessionId, by: AccountId, text: &str) -> Enqueued {
        let new = NewCommand {
            org: self.world.org,
            session,
            wish: Wish::Prompt { text: text.into() },
            idempotency_key: format!("key {text}"),
            created_by: Some(by),
        };
        self.world.store.command_enqueue(&new).await.unwrap()
    }

    /// A whole turn: the prompt, what is answered, an artifact, a checkpoint with a file that all sessions share.
    async fn turn(&self, session: SessionId, by: AccountId, text: &str) -> CommandId {
        let Enqueued { command, ordinal, .. } = self.prompt(session, by, text).await;
        let lease = self.world.claim(1).await.remove(0);
        let message_id = prompt_message_id(ordinal);
        let artifact: ids::ArtifactId = self.world.store.sources().id();
        let events = [
            Event::TurnStarted { command_id: command, attempt: 1 },
            Event::MessageAppended { message_id, role: MessageRole::User, text: text.into() },
            says(MessageRole::Agent, &format!("about {text}")),
            Event::ArtifactCreated {
                artifact_id: artifact,
                name: text.into(),
                media_type: "a/b".into(),
                size: 1,
                sha256: "00".into(),
            },
            Event::TurnEnded { command_id: command, outcome: domain::event::TurnOutcome::Completed, error: None },
        ];
        let (after, mut projection) = self.held(&lease).await;
        events.iter().for_each(|event| projection.apply(event));
        let checkpoint: ids::CheckpointId = self.world.store.sources().id();
        let finish = Finish {
            append: Append { after, events: &events, projection: &projection },
            command,
            state: CommandState::Done,
            sentence: "the turn is complete".into(),
            turn: Some(domain::event::TurnOutcome::Completed),
            checkpoint: Some(NewCheckpoint {
                checkpoint,
                manifest: blob(&format!("manifest {checkpoint}")),
                files: vec![blob("shared"), blob(&format!("file of {session}"))],
                since: self.world.store.sources().now(),
            }),
            turn_ms: 0,
            input_tokens: 1,
            output_tokens: 1,
            models: Vec::new(),
            heard: Vec::new(),
        };
        let blob = blob(&format!("artifact {artifact}"));
        let new = NewArtifact { artifact, name: text.into(), media_type: "a/b".into(), blob };
        assert_eq!(self.world.store.turn_finish(&lease, &finish, &[new]).await.unwrap(), None);
        command
    }

    async fn held(&self, lease: &Lease) -> (i64, Projection) {
        let held = self.world.store.lease_load(lease).await.unwrap();
        (held.last_sequence, held.projection)
    }

    async fn erase(&self) -> Erasure {
        let store = &self.world.store;
        store.subject_erase(self.account, ErasedFor::Owner(self.world.org), "role:test").await.unwrap();
        while store.subject_erasure_step(self.account).await.unwrap() != ErasureStep::Finished {}
        store.subject_erasure(self.account, ErasedFor::Installation).await.unwrap().unwrap()
    }

    /// Sequences without holes, and a projection that is what the events add up to.
    async fn assert_parity(&self, session: SessionId) -> Projection {
        let (store, org) = (&self.world.store, self.world.org);
        let events = store.events_after(org, session, 0, 1_000).await.unwrap();
        let sequences: Vec<i64> = events.iter().map(|event| event.sequence).collect();
        assert_eq!(sequences, (sequences[0]..).take(events.len()).collect::<Vec<_>>());
        let rebuilt = Projection::rebuild(events.iter().map(|recorded| &recorded.event));
        let (_, stored) = store.session_view(org, session).await.unwrap().unwrap();
        assert_eq!(stored.to_value(), serde_json::to_value(&rebuilt).unwrap());
        assert_eq!(Some(stored.sequence), sequences.last().copied());
        assert_eq!(store.session_last_sequence(org, session).await.unwrap(), Some(stored.sequence));
        rebuilt
    }

    /// The tables that still hold the word.
    async fn tables_that_tell(&self) -> BTreeSet<String> {
        let tables = self.world.store.diagnostics_counts().await.unwrap().into_keys();
        let mut telling = BTreeSet::new();
        for table in tables {
            let sql = format!("SELECT count(*) FROM {table} AS row WHERE row::text ILIKE '%{PRIVATE}%'");
            let rows: i64 = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&self.world.store.pool).await.unwrap();
            if rows > 0 {
                telling.insert(table);
            }
        }
        telling
    }

    async fn channel(&self, session: SessionId) -> ChannelId {
        let (org, store) = (self.world.org, &self.world.store);
        let destination = "https://chat.example/hook".parse().unwrap();
        let new = NewChannel {
            org,
            kind: ChannelKind::Webhook,
            name: "ops".into(),
            destination,
            secret_version: "1".into(),
            deduplicates: true,
        };
        let channel = store.channel_create(&new, "role:test").await.unwrap().channel_id;
        let new = NewBinding { org, channel, thread: "general".into(), session };
        store.binding_create(&new, "role:test").await.unwrap();
        channel
    }
}

#[tokio::test]
async fn nothing_that_the_subject_wrote_is_left_in_any_table() {
    let subject = subject().await;
    let own = subject.session(subject.account, "quince tart").await;
    let tags = Some(Tags::new(["quince"]).unwrap());
    let tagged = SessionChange { title: Some("quinces".into()), tags, archived: None };
    let (store, org, actor) = (&subject.world.store, subject.world.org, format!("account:{}", subject.account));
    store.session_change(org, own, &tagged, &Expected::Anything, &actor).await.unwrap();
    subject.turn(own, subject.account, "quince jelly").await;
    subject.turn(own, subject.owner, "more quince?").await;
    let shared = subject.session(subject.owner, "Groceries").await;
    subject.turn(shared, subject.owner, "apples").await;
    subject.prompt(shared, subject.account, "a quince that waits").await;
    assert!(!subject.tables_that_tell().await.is_empty());

    let erasure = subject.erase().await;
    assert_eq!(subject.tables_that_tell().await, BTreeSet::new());
    assert_eq!((erasure.sessions, erasure.artifacts, erasure.commands), (2, 2, 3));
    assert_eq!(erasure.finished_at, Some(subject.world.store.sources().now()));
    let whole = subject.assert_parity(own).await;
    assert_eq!((whole.title.as_str(), whole.turns.completed), (ERASED, 2));
    let kept = subject.assert_parity(shared).await;
    assert_eq!((kept.title.as_str(), kept.messages[0].excerpt.as_str()), ("Groceries", "apples"));
    let (audit, _) =
        subject.world.store.audit_list(subject.world.org, &crate::AuditFilter::default(), 0, 100).await.unwrap();
    assert_eq!(audit.last().unwrap().action, "subject.erase");
    assert!(audit.iter().any(|record| record.target == format!("session:{own}")), "the trail keeps what was done");
}

#[tokio::test]
async fn what_was_compacted_is_erased_as_well() {
    let subject = subject().await;
    let own = subject.session(subject.account, "quince tart").await;
    subject.turn(own, subject.account, "quince jelly").await;
    let shared = subject.session(subject.owner, "Groceries").await;
    subject.turn(shared, subject.account, "quinces, please").await;
    subject.turn(shared, subject.owner, "apples").await;
    let (store, org) = (&subject.world.store, subject.world.org);
    subject.world.clock.advance(chrono::TimeDelta::days(1));
    for session in [own, shared] {
        assert!(store.session_compact(org, session, store.sources().now()).await.unwrap().events > 0);
    }

    subject.erase().await;
    // What the agent answered in the session of others stays there, and so does its file.
    let telling = subject.tables_that_tell().await;
    assert_eq!(telling.iter().map(String::as_str).collect::<Vec<_>>(), ["artifacts", "events", "projections"]);
    let whole = subject.assert_parity(own).await;
    assert_eq!((whole.title.as_str(), whole.messages[0].excerpt.as_str(), whole.turns.completed), (ERASED, ERASED, 1));
    let kept = subject.assert_parity(shared).await;
    let excerpts: Vec<&str> = kept.messages.iter().map(|message| message.excerpt.as_str()).collect();
    assert_eq!(excerpts, [ERASED, "about quinces, please", "apples", "about apples"]);
}

#[tokio::test]
async fn in_a_session_of_others_the_agents_answers_and_the_files_stay() {
    let subject = subject().await;
    let shared = subject.session(subject.owner, "Groceries").await;
    subject.turn(shared, subject.account, "pears").await;
    subject.erase().await;
    let projection = subject.assert_parity(shared).await;
    let said: Vec<&str> = projection.messages.iter().map(|message| message.excerpt.as_str()).collect();
    assert_eq!(said, [ERASED, "about pears"]);
    let artifacts = subject.world.store.artifacts_list(subject.world.org, Some(shared), None, 10).await.unwrap();
    assert_eq!(artifacts.len(), 1);
}

#[tokio::test]
async fn a_blob_goes_only_when_no_session_names_it_any_more_and_not_at_once() {
    let subject = subject().await;
    let own = subject.session(subject.account, "mine").await;
    subject.turn(own, subject.account, "x").await;
    let other = subject.session(subject.owner, "theirs").await;
    subject.turn(other, subject.owner, "y").await;
    let erasure = subject.erase().await;
    assert_eq!(erasure.blobs, 3, "a manifest, a file of its own, an artifact");

    let (store, clock) = (&subject.world.store, &subject.world.clock);
    assert_eq!(store.blob_deletions_take(10).await.unwrap().due, []);
    clock.advance(crate::BLOB_GRACE);
    let due = store.blob_deletions_take(10).await.unwrap();
    assert_eq!(due.due.len(), 3);
    assert!(due.due.iter().all(|deletion| deletion.key != "shared"), "{due:?}");
    assert_eq!(store.blob_deletions_take(10).await.unwrap().due, [], "somebody is at it");
    due.done().await.unwrap();
    assert_eq!(store.blob_deletions_take(10).await.unwrap().due, []);
}

#[tokio::test]
async fn a_file_that_is_saved_again_is_not_deleted_and_one_that_is_being_deleted_is_saved_anew() {
    let subject = subject().await;
    let (org, store, clock) = (subject.world.org, &subject.world.store, &subject.world.clock);
    let record = async |since| {
        let mut tx = store.pool.begin().await.unwrap();
        crate::blob::record(&mut tx, org, vec![&blob("k")], since, store.sources().now()).await.unwrap();
        tx.commit().await.unwrap();
        sqlx::query_scalar::<_, i64>("SELECT count(*) FROM blobs").fetch_one(&store.pool).await.unwrap()
    };
    let doom = async || {
        let mut tx = store.pool.begin().await.unwrap();
        crate::blob_deletion::doom(&mut tx, org, &["k".into()], store.sources().now()).await.unwrap();
        tx.commit().await.unwrap();
        clock.advance(crate::BLOB_GRACE);
    };
    assert_eq!(record(store.sources().now()).await, 1);
    doom().await;
    assert_eq!(record(store.sources().now()).await, 1, "nobody had begun to delete it");
    assert_eq!(store.blob_deletions_take(10).await.unwrap().due, []);

    doom().await;
    let began = store.sources().now();
    let deletions = store.blob_deletions_take(10).await.unwrap();
    assert_eq!(deletions.due.len(), 1);
    deletions.done().await.unwrap();
    assert_eq!(record(began).await, 0, "who looked before may have seen what is gone");
    clock.advance(chrono::TimeDelta::minutes(1));
    assert_eq!(record(store.sources().now()).await, 1, "who stored it afterwards names it");
}

#[tokio::test]
async fn a_worker_in_the_middle_of_the_subjects_turn_writes_nothing_more() {
    let subject = subject().await;
    let own = subject.session(subject.account, "mine").await;
    let command = subject.prompt(own, subject.account, "quince").await.command;
    let lease = subject.world.claim(1).await.remove(0);
    let (after, mut projection) = subject.held(&lease).await;
    let events = [Event::TurnStarted { command_id: command, attempt: 1 }, says(MessageRole::User, "quince")];
    events.iter().for_each(|event| projection.apply(event));
    let append = Append { after, events: &events, projection: &projection };
    subject.world.store.turn_append(&lease, &append).await.unwrap();

    subject.erase().await;
    let late = Append { after: after + 2, ..append };
    assert!(matches!(subject.world.store.turn_append(&lease, &late).await, Err(StoreError::LeaseLost)));
    assert_eq!(subject.assert_parity(own).await.state, SessionState::Idle);
    let refused = subject.world.store.command_by_id(subject.world.org, own, command).await.unwrap().unwrap();
    assert_eq!(refused.state, CommandState::Refused);
    let idle = subject.world.claim(1).await.remove(0);
    subject.world.store.lease_end_idle(&idle).await.unwrap();
}

#[tokio::test]
async fn a_message_that_still_waits_is_not_sent_and_its_text_is_gone() {
    let subject = subject().await;
    let own = subject.session(subject.account, "mine").await;
    subject.channel(own).await;
    let store = &subject.world.store;
    sqlx::query(
        "INSERT INTO deliveries (org_id, delivery_id, channel_id, binding_id, sequence, payload, state, next_attempt_at,
            created_at)
        SELECT org_id, gen_random_uuid(), channel_id, binding_id, place, '{\"data\": {\"text\": \"quince\"}}',
            CASE place WHEN 1 THEN 'pending' ELSE 'sent' END, now(), now()
        FROM bindings, generate_series(1, 2) AS place",
    )
    .execute(&store.pool)
    .await
    .unwrap();
    subject.erase().await;
    assert_eq!(subject.tables_that_tell().await, BTreeSet::new());
    let deliveries = store.delivery_list(subject.world.org, None, None, 10).await.unwrap();
    let states: BTreeSet<_> = deliveries.iter().map(|delivery| (delivery.sequence, delivery.state.as_str())).collect();
    assert_eq!(states, BTreeSet::from([(1, "dead"), (2, "sent")]));
}

#[tokio::test]
async fn an_erasure_that_dies_half_way_goes_on_where_it_was() {
    let subject = subject().await;
    let store = &subject.world.store;
    for n in 0..3 {
        let session = subject.session(subject.account, "mine").await;
        subject.turn(session, subject.account, &format!("quince {n}")).await;
    }
    let wanted = ErasedFor::Installation;
    store.subject_erase(subject.account, wanted, "role:test").await.unwrap();
    assert_eq!(store.token_identify(&[7; 32]).await.unwrap(), None, "nobody signs in as the subject");
    assert_eq!(store.subject_erasure_step(subject.account).await.unwrap(), ErasureStep::More);
    assert_eq!(store.subject_erasure_step(subject.account).await.unwrap(), ErasureStep::More);
    assert_eq!(store.subjects_unfinished(10).await.unwrap(), [subject.account]);
    let again = store.subject_erase(subject.account, wanted, "role:test").await.unwrap();
    assert_eq!((again.sessions, again.finished_at), (1, None));
    assert_eq!(subject.erase().await.sessions, 3);
    assert_eq!(subject.tables_that_tell().await, BTreeSet::new());
    assert!(store.subjects_unfinished(10).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_owner_erases_nobody_whom_another_org_knows() {
    let subject = subject().await;
    let (store, org, account) = (&subject.world.store, subject.world.org, subject.account);
    let other = store.org_create("Other", "role:test").await.unwrap().org_id;
    let erase = |account, wanted| store.subject_erase(account, wanted, "role:test");
    let no_such = |result| matches!(result, Err(EraseError::NoSuchSubject));
    assert!(no_such(erase(account, ErasedFor::Owner(other)).await));
    assert!(no_such(erase(account, ErasedFor::Operator(other)).await));
    assert!(no_such(erase(store.sources().id(), ErasedFor::Installation).await));
    assert!(matches!(erase(subject.owner, ErasedFor::Owner(org)).await, Err(EraseError::LastOwner)));
    let new = NewMember { email: "quince@example.org".into(), display_name: String::new(), role: Role::Member.into() };
    store.member_add(other, &new, "role:test").await.unwrap().unwrap();
    assert!(matches!(erase(account, ErasedFor::Owner(org)).await, Err(EraseError::InOtherOrgs)));
    erase(account, ErasedFor::Operator(org)).await.unwrap();
    assert!(erase(account, ErasedFor::Owner(other)).await.is_ok(), "each of its orgs may ask what became of it");
}

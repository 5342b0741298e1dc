use domain::chat::{Decision, IdentityState, NotAllowed};
use domain::command::Wish;
use domain::event::{Event, TurnOutcome};
use domain::tenancy::Role;
use domain::version::Expected;
use ids::AccountId;
use serde_json::json;

use super::*;
use crate::channel_identity::tests::{channel, member, say, sender};
use crate::testing::World;
use crate::{Append, Channel, EnqueueError, Finish, IdentityChange, NewBinding, NewCommand, NewDelivery, Received};

/// A session that waits for approval, in a thread that was told.
struct Asked {
    world: World,
    channel: Channel,
    session: SessionId,
    account: AccountId,
}

const TOKEN: [u8; 32] = [7; 32];

impl Asked {
    async fn new() -> Self {
        let world = World::new().await;
        let (channel, session) = (channel(&world).await, world.session().await);
        let account = member(&world, Role::Member).await;
        let asked = Self { world, channel, session, account };
        asked.bind("general", TOKEN).await;
        asked.turn("first", ask(), TurnOutcome::AwaitingApproval).await;
        asked.admit("ada", Some(account)).await;
        asked
    }

    /// Binds a thread, and has it told of the question.
    async fn bind(&self, thread: &str, token_hash: [u8; 32]) {
        let store = &self.world.store;
        let new = NewBinding {
            org: self.world.org,
            channel: self.channel.channel_id,
            thread: thread.into(),
            session: self.session,
        };
        let bound = store.binding_create(&new, "role:test").await.unwrap();
        let cursor = BehindCursor {
            org: self.world.org,
            binding_id: bound.binding_id,
            channel_id: self.channel.channel_id,
            thread: thread.into(),
            session_id: self.session,
            sequence: bound.cursor_sequence,
        };
        let asked = NewInteraction {
            interaction: store.sources().id(),
            request_id: "r1".into(),
            kind: RequestKind::Approval,
            token_hash,
            expires_at: NewInteraction::expiry(store.sources().now()),
            generation: 1,
        };
        let command = store.sources().id();
        let new = NewDelivery { command, sequence: 1, payload: json!({}), interaction: Some(asked) };
        assert!(store.cursor_advance(&cursor, bound.cursor_sequence, &[new]).await.unwrap());
    }

    /// A turn of a prompt, as a worker would end it.
    async fn turn(&self, key: &str, event: Event, outcome: TurnOutcome) {
        let store = &self.world.store;
        store.command_enqueue(&self.world.prompt(self.session, key)).await.unwrap();
        self.work(event, outcome).await;
    }

    async fn work(&self, event: Event, outcome: TurnOutcome) {
        // A decision that was refused may hold the session's row for a moment more.
        let claimed = std::cell::RefCell::new(None);
        let claim = || async {
            let leases = self.world.claim(1).await;
            *claimed.borrow_mut() = leases.into_iter().next();
            claimed.borrow().is_some()
        };
        testkit::wait_until("the session can be claimed", claim).await;
        let lease = claimed.take().unwrap();
        let held = self.world.store.lease_load(&lease).await.unwrap();
        let command = held.next.unwrap().command;
        let events = [event, Event::TurnEnded { command_id: command, outcome, error: None }];
        let mut projection = held.projection;
        events.iter().for_each(|event| projection.apply(event));
        let finish = Finish {
            append: Append { after: held.last_sequence, events: &events, projection: &projection },
            command,
            state: domain::command::CommandState::Done,
            sentence: "done".into(),
            turn: Some(outcome),
            checkpoint: None,
            turn_ms: 0,
            input_tokens: 0,
            output_tokens: 0,
            models: Vec::new(),
            heard: Vec::new(),
        };
        self.world.store.turn_finish(&lease, &finish, &[]).await.unwrap();
    }

    /// Lets somebody decide, for a member.
    async fn admit(&self, who: &str, account: Option<AccountId>) {
        let said = self.said(who, [0; 32], Decision::Approve);
        // Whoever is not known decides nothing, and has a row from then on.
        assert!(self.decide_at(1, &said).await.is_err());
        let all = self.world.store.channel_identity_list(self.world.org, None, None, None, 200).await.unwrap();
        let found = all.into_iter().find(|one| one.external_id == who).unwrap();
        let may_decide = account.is_some();
        let change = IdentityChange { account, may_prompt: true, may_decide, state: IdentityState::Active };
        say(&self.world, found.channel_identity_id, change).await;
    }

    fn said(&self, who: &str, token_hash: [u8; 32], decision: Decision) -> InboundDecision {
        InboundDecision {
            provider_event_id: self.world.store.sources().id::<uuid::Uuid>().to_string(),
            thread: "general".into(),
            sender: Some(sender(who)),
            token_hash,
            decision,
            digest: self.world.store.sources().bytes(),
        }
    }

    async fn decide_at(&self, generation: i64, said: &InboundDecision) -> Result<Received, DecisionError> {
        self.world.store.interaction_decide(generation, &self.channel, said, &|_, _| [9; 32]).await
    }

    async fn decide(&self, who: &str, decision: Decision) -> Result<Received, DecisionError> {
        self.decide_at(1, &self.said(who, TOKEN, decision)).await
    }

    async fn state(&self) -> InteractionState {
        let of = (self.world.org, self.session);
        self.world.store.interaction_list(of, 1, None, None, 10).await.unwrap()[0].state
    }

    /// Commands that speak to a question.
    async fn spoken(&self) -> i64 {
        let spoken = "SELECT count(*) FROM commands WHERE kind IN ('approve', 'reject', 'answer')";
        sqlx::query_scalar(spoken).fetch_one(&self.world.store.pool).await.unwrap()
    }
}

fn ask() -> Event {
    Event::ApprovalRequested { request_id: "r1".into(), title: "delete it".into() }
}

fn over(decided: Result<Received, DecisionError>) -> Over {
    match decided {
        Err(DecisionError::Over(over)) => over,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_token_decides_once_and_the_decision_is_the_members() {
    let asked = Asked::new().await;
    let said = asked.said("ada", TOKEN, Decision::Reject);
    let received = asked.decide_at(1, &said).await.unwrap();
    let again = asked.decide_at(1, &said).await.unwrap();
    assert_eq!((again.command, again.duplicate), (received.command, true), "the message came twice");
    assert_eq!(over(asked.decide("ada", Decision::Approve).await), Over::Used);
    assert_eq!((asked.spoken().await, asked.state().await), (1, InteractionState::Decided));
    let by: (String, uuid::Uuid) = sqlx::query_as("SELECT kind, created_by FROM commands WHERE kind = 'reject'")
        .fetch_one(&asked.world.store.pool)
        .await
        .unwrap();
    assert_eq!(by, ("reject".into(), asked.account.into()));
    let told = "SELECT actor, detail FROM audit_records WHERE action = 'session.reject'";
    let (actor, detail): (String, serde_json::Value) =
        sqlx::query_as(told).fetch_one(&asked.world.store.pool).await.unwrap();
    assert_eq!(actor, format!("account:{}", asked.account));
    assert_eq!((&detail["request_id"], &detail["command_id"]), (&json!("r1"), &json!(received.command)));
    assert!(detail["interaction_id"].is_string() && detail["channel_identity_id"].is_string(), "{detail}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_decisions_that_come_at_once_in_two_threads_one_counts() {
    let asked = Asked::new().await;
    asked.bind("elsewhere", [8; 32]).await;
    let decide = |n: u8| {
        let asked = &asked;
        async move {
            let mut said = asked.said("ada", if n.is_multiple_of(2) { TOKEN } else { [8; 32] }, Decision::Approve);
            if n % 2 == 1 {
                said.thread = "elsewhere".into();
            }
            asked.decide_at(1, &said).await
        }
    };
    let decided = futures::future::join_all((0..8).map(decide)).await;
    assert_eq!(decided.iter().filter(|one| one.is_ok()).count(), 1, "{decided:?}");
    assert!(decided.iter().all(|one| matches!(one, Ok(_) | Err(DecisionError::Over(Over::Used | Over::Ended)))));
    assert_eq!(asked.spoken().await, 1);
}

#[tokio::test]
async fn a_token_that_is_unknown_foreign_too_old_or_from_before_a_restore_changes_nothing() {
    let asked = Asked::new().await;
    let unknown = asked.decide_at(1, &asked.said("ada", [1; 32], Decision::Approve)).await;
    assert!(matches!(unknown, Err(DecisionError::NoSuchToken)), "{unknown:?}");
    let mut said = asked.said("ada", TOKEN, Decision::Approve);
    said.thread = "elsewhere".into();
    let foreign = asked.decide_at(1, &said).await;
    assert!(matches!(foreign, Err(DecisionError::NoSuchToken)), "{foreign:?}");
    let restored = asked.decide_at(2, &asked.said("ada", TOKEN, Decision::Approve)).await;
    assert_eq!(over(restored), Over::Void);
    let answer = asked.decide("ada", Decision::Answer("yes".into())).await;
    assert!(matches!(answer, Err(DecisionError::AnotherKind(_))), "{answer:?}");
    asked.world.clock.advance(INTERACTION_LIFE);
    assert_eq!(over(asked.decide("ada", Decision::Approve).await), Over::Expired);
    assert_eq!((asked.spoken().await, asked.state().await), (0, InteractionState::Expired));
}

#[tokio::test]
async fn only_a_member_who_may_decide_does() {
    let asked = Asked::new().await;
    let refused = async |who: &str| match asked.decide(who, Decision::Approve).await {
        Err(DecisionError::NotAllowed(why)) => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused("eve").await, NotAllowed::Unknown);
    asked.admit("bob", None).await;
    assert_eq!(refused("bob").await, NotAllowed::NotGranted);
    let viewer = member(&asked.world, Role::Viewer).await;
    asked.admit("vic", Some(viewer)).await;
    assert_eq!(refused("vic").await, NotAllowed::NotPermitted);
    let unnamed = InboundDecision { sender: None, ..asked.said("ada", TOKEN, Decision::Approve) };
    let unnamed = asked.decide_at(1, &unnamed).await;
    assert!(matches!(unnamed, Err(DecisionError::NotAllowed(NotAllowed::Unnamed))), "{unnamed:?}");
    let removed =
        asked.world.store.member_remove(asked.world.org, asked.account, &Expected::Anything, "role:test").await;
    removed.unwrap();
    assert_eq!(refused("ada").await, NotAllowed::NotAMember);
    assert_eq!((asked.spoken().await, asked.state().await), (0, InteractionState::Open));
}

#[tokio::test]
async fn a_question_that_somebody_else_spoke_to_or_whose_turn_ended_is_over() {
    let asked = Asked::new().await;
    let new = NewCommand {
        org: asked.world.org,
        session: asked.session,
        wish: Wish::Approve { request_id: "r1".into() },
        idempotency_key: "by the API".into(),
        created_by: Some(asked.account),
    };
    asked.world.store.command_enqueue(&new).await.unwrap();
    assert_eq!(over(asked.decide("ada", Decision::Reject).await), Over::Ended, "it was not carried out yet");
    asked.work(resolved(), TurnOutcome::Completed).await;
    assert_eq!(over(asked.decide("ada", Decision::Reject).await), Over::Ended);
    assert_eq!((asked.spoken().await, asked.state().await), (1, InteractionState::Ended));
}

fn resolved() -> Event {
    Event::ApprovalResolved { request_id: "r1".into(), outcome: domain::event::ApprovalOutcome::Approved }
}

#[tokio::test]
async fn a_question_that_was_spoken_to_in_the_lost_system_is_not_decided_again() {
    let asked = Asked::new().await;
    let remember =
        "INSERT INTO remembered_effects (org_id, kind, effect_id, effect_key, state, happened_at, generation)
        VALUES ($1, 'interaction', $2, $3, 'used', now(), 1)";
    let remember = sqlx::query(remember).bind(uuid::Uuid::from(asked.world.org)).bind(uuid::Uuid::nil());
    remember.bind(&[9_u8; 32][..]).execute(&asked.world.store.pool).await.unwrap();
    let decided = asked.decide("ada", Decision::Approve).await;
    assert!(matches!(decided, Err(DecisionError::Enqueue(EnqueueError::SpokenTo))), "{decided:?}");
    assert_eq!(asked.spoken().await, 0);
}

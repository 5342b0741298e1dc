//! What a reader of events can count on.

use axum::body::{Body, BodyDataStream};
use axum::http::Request;
use axum::http::request::Builder;
use chrono::TimeDelta;
use domain::event::{Event, MessageRole, TurnOutcome};
use domain::permission::Permission;
use domain::projection::Projection;
use domain::tenancy::{Role, RoleName, Scope};
use domain::version::Expected;
use ids::{InstanceId, OrgId};
use serde_json::json;
use store::{Append, Lease, NewCommand};
use testkit::wait_until;
use tower::ServiceExt;

use super::*;
use crate::ApiToken;
use crate::sign_in::tests::{Signing, ada};
use crate::testing::{World, request};

pub(super) struct Conversation {
    pub(super) world: World,
    path: String,
    pub(super) lease: Lease,
    sequence: i64,
    projection: Projection,
}

impl Conversation {
    pub(super) async fn new() -> Self {
        let world = World::new().await;
        let created = world.post("/api/sessions", json!({"title": "Plan"})).await.expect(201);
        let session = created["session_id"].as_str().unwrap().parse().unwrap();
        let lease = lease(&world, world.org, session).await;
        let path = format!("/api/sessions/{session}/events");
        Self { world, path, lease, sequence: 1, projection: Projection::default() }
    }

    pub(super) async fn say(&mut self, count: i64) {
        let text = |n: i64| Event::MessageAppended {
            message_id: format!("m{}", self.sequence + n),
            role: MessageRole::Agent,
            text: "hi".into(),
        };
        let events: Vec<Event> = (0..count).map(text).collect();
        let append = Append { after: self.sequence, events: &events, projection: &self.projection };
        self.world.app.store.turn_append(&self.lease, &append).await.unwrap();
        self.sequence = append.last();
    }

    async fn end_turn(&mut self) {
        let outcome = TurnOutcome::Completed;
        let events = [Event::TurnEnded { command_id: uuid::Uuid::nil().into(), outcome, error: None }];
        let append = Append { after: self.sequence, events: &events, projection: &self.projection };
        self.world.app.store.turn_append(&self.lease, &append).await.unwrap();
        self.sequence = append.last();
    }

    fn request(&self, last_event_id: &str) -> Request<Body> {
        let request = request("GET", &self.path, &self.world.operator).header("accept", "text/event-stream");
        request.header("last-event-id", last_event_id).body(Body::empty()).unwrap()
    }
}

fn sequence(frame: &Bytes) -> i64 {
    let text = std::str::from_utf8(frame).unwrap();
    text.strip_prefix("id: ").unwrap().split_once('\n').unwrap().0.parse().unwrap()
}

async fn lease(world: &World, org: OrgId, session: SessionId) -> Lease {
    let store = &world.app.store;
    let wish = domain::command::Wish::Prompt { text: "hi".into() };
    let new = NewCommand { org, session, wish, idempotency_key: "k".into(), created_by: None };
    store.command_enqueue(&new).await.unwrap();
    let holder: InstanceId = store.sources().id();
    let until = store.sources().now() + chrono::TimeDelta::hours(1);
    store.lease_claim(world.app.generation.generation, holder, until, 1).await.unwrap().remove(0)
}

#[tokio::test]
async fn a_list_goes_on_where_it_ended() {
    let mut talk = Conversation::new().await;
    talk.say(4).await;
    let first = talk.world.get(&format!("{}?after=1&limit=2", talk.path)).await.expect(200);
    assert_eq!(first["items"][0]["sequence"], 2);
    assert_eq!(first["items"][0]["kind"], "message_appended");
    assert_eq!(first["next_cursor"], "3");
    let rest = talk.world.get(&format!("{}?cursor=3", talk.path)).await.expect(200);
    assert_eq!(rest["items"].as_array().unwrap().len(), 2);
    assert_eq!(rest["next_cursor"], json!(null));
}

#[tokio::test]
async fn a_resumed_stream_has_no_hole_and_no_repeat() {
    let mut talk = Conversation::new().await;
    talk.say(2_500).await;
    let stream = stream(talk.world.app.clone(), talk.lease.org, talk.lease.session, talk.sequence, 7);
    let mut stream = std::pin::pin!(stream.map(|frame| sequence(&frame)));
    let before: Vec<i64> = stream.by_ref().take(2_494).collect().await;
    assert_eq!(before, (8..=2_501).collect::<Vec<_>>());
    let (next, ()) = tokio::join!(stream.next(), talk.say(1));
    assert_eq!(next, Some(2_502));
}

#[tokio::test]
async fn readers_of_one_session_see_each_event_once_wherever_they_began() {
    let mut talk = Conversation::new().await;
    talk.say(600).await;
    let (app, org, session) = (talk.world.app.clone(), talk.lease.org, talk.lease.session);
    let follow = |after| Box::pin(stream(app.clone(), org, session, 300, after).map(|frame| sequence(&frame)));
    let mut readers: Vec<_> = [0, 250, 590, 601].into_iter().map(|after| (after, follow(after))).collect();
    for (after, reader) in &mut readers {
        let count = usize::try_from(601 - *after).unwrap();
        assert_eq!(reader.take(count).collect::<Vec<i64>>().await, (*after + 1..=601).collect::<Vec<_>>());
    }
    talk.say(1).await;
    for (_, reader) in &mut readers {
        assert_eq!(reader.next().await, Some(602));
    }
    drop(readers);
    wait_until("the tail ends with its last reader", async || app.tails.sessions.is_empty()).await;
}

#[tokio::test]
async fn a_stream_ends_when_the_process_drains() {
    let mut talk = Conversation::new().await;
    talk.say(3).await;
    let response = crate::router(talk.world.app.clone()).oneshot(talk.request("1")).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body().into_data_stream();
    let first = body.next().await.unwrap().unwrap();
    assert!(first.starts_with(b"id: 2\nevent: message_appended\ndata: {"), "{first:?}");
    talk.world.app.shutdown.cancel();
    while let Some(piece) = body.next().await {
        piece.unwrap();
    }
}

#[tokio::test]
async fn a_reader_whose_next_events_are_compacted_is_told_where_to_begin_anew() {
    let mut talk = Conversation::new().await;
    talk.say(1).await;
    talk.end_turn().await;
    talk.say(2).await;
    let (store, lease) = (&talk.world.app.store, &talk.lease);
    let later = store.sources().now() + chrono::TimeDelta::days(1);
    assert_eq!(store.session_compact(lease.org, lease.session, later).await.unwrap().events, 2);
    for path in ["?after=1", "?cursor=1"] {
        let answer = talk.world.get(&format!("{}{path}", talk.path)).await;
        let problem = answer.expect_problem(410, "snapshot_required");
        assert_eq!((&problem["earliest_sequence"], &problem["latest_sequence"]), (&json!(3), &json!(5)));
    }
    talk.world.send(talk.request("1")).await.expect_problem(410, "snapshot_required");
    let whole = talk.world.get(&talk.path).await.expect(200);
    assert_eq!((&whole["items"][0]["sequence"], &whole["items"][0]["kind"]), (&json!(3), &json!("compacted")));
    let first = talk.world.get(&format!("{}?after=2&limit=1", talk.path)).await.expect(200);
    assert_eq!(first["items"][0]["sequence"], 3, "whoever saw all but the last misses nothing");
}

#[tokio::test]
async fn a_last_event_id_that_is_no_sequence_is_refused() {
    let talk = Conversation::new().await;
    let place = domain::feed::FeedPlace::beginning().to_string();
    for id in ["yesterday", "", "1.5", "1, 2", "9223372036854775808", "-9223372036854775809", &place] {
        talk.world.send(talk.request(id)).await.expect_problem(422, "invalid");
    }
}

#[tokio::test]
async fn a_sequence_below_the_first_is_before_everything() {
    let talk = Conversation::new().await;
    for id in ["-3", "0", "-9223372036854775808"] {
        let resumed = request("GET", &talk.path, &talk.world.operator).header("last-event-id", id);
        let first = open(&talk.world, resumed).await.next().await.unwrap().unwrap();
        assert_eq!(sequence(&first), 1, "{id}");
    }
}

/// As after a restore to a time before the last events that it saw: it would wait for what has other sequences now.
#[tokio::test]
async fn a_reader_that_has_seen_more_than_there_is_is_told_to_begin_anew() {
    let mut talk = Conversation::new().await;
    talk.say(3).await;
    for ahead in ["5", "9223372036854775807"] {
        let problem = talk.world.send(talk.request(ahead)).await.expect_problem(410, "snapshot_required");
        assert_eq!((&problem["earliest_sequence"], &problem["latest_sequence"]), (&json!(1), &json!(4)));
    }
    let resumed = request("GET", &talk.path, &talk.world.operator).header("last-event-id", "4");
    let mut stream = open(&talk.world, resumed).await;
    talk.say(1).await;
    assert_eq!(sequence(&stream.next().await.unwrap().unwrap()), 5, "who has seen all of it goes on");
}

#[tokio::test]
async fn a_caller_with_as_many_streams_as_it_may_closes_one_before_it_opens_another() {
    let mut talk = Conversation::new().await;
    talk.world.limit_streams(2);
    let world = &talk.world;
    let other = world.member(world.org, Role::Viewer, &[Scope::Read]).await;
    let stream = async |path: &str, token: &str| open(world, request("GET", path, token)).await;
    let (of_session, of_feed) =
        (stream(&talk.path, &world.operator).await, stream("/api/events", &world.operator).await);
    for path in [&*talk.path, "/api/events"] {
        let another = request("GET", path, &world.operator).header("accept", "text/event-stream");
        let refused = world.send(another.body(Body::empty()).unwrap()).await;
        let problem = refused.expect_problem(429, "too_many_streams");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("close one") && detail.contains("GET /api/events"), "{detail}");
        assert_eq!(refused.headers["retry-after"], "15");
        world.get(path).await.expect(200);
    }
    let others = [stream(&talk.path, &other).await, stream("/api/events", &other).await];
    drop(of_feed);
    let again = stream(&talk.path, &world.operator).await;
    drop((of_session, others, again));
    assert_eq!(world.app.streams.count(), 0);
}

#[tokio::test]
async fn a_stream_makes_room_in_whatever_way_it_ends() {
    let mut talk = Conversation::new().await;
    talk.world.limit_streams(1);
    let world = &talk.world;
    let open_ones = || world.app.streams.count();
    world.send(talk.request("yesterday")).await.expect_problem(422, "invalid");
    world.send(talk.request("99")).await.expect_problem(410, "snapshot_required");
    let head = request("HEAD", &talk.path, &world.operator).header("accept", "text/event-stream");
    world.send(head.body(Body::empty()).unwrap()).await.expect(200);
    assert_eq!(open_ones(), 0, "none of them became a stream");

    let leaving = world.member(world.org, Role::Viewer, &[Scope::Read]).await;
    let mut revoked = open(world, request("GET", &talk.path, &leaving)).await;
    let mut drained = open(world, request("GET", "/api/events", &world.operator)).await;
    assert_eq!(open_ones(), 2);
    world.delete(&format!("/api/tokens/{}", world.token_id(&leaving).await)).await.expect(204);
    read_to_the_end(&mut revoked).await;
    assert_eq!(open_ones(), 1, "it ended with its right, though somebody holds it");
    world.app.shutdown.cancel();
    read_to_the_end(&mut drained).await;
    assert_eq!(open_ones(), 0, "it ended when the process drains, though somebody holds it");
}

/// A stream whose head is there.
async fn open(world: &World, request: Builder) -> BodyDataStream {
    let request = request.header("accept", "text/event-stream").body(Body::empty()).unwrap();
    let response = crate::router(world.app.clone()).oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    response.into_body().into_data_stream()
}

async fn ended(mut stream: BodyDataStream) {
    read_to_the_end(&mut stream).await;
}

/// Reads a stream to its end.
async fn read_to_the_end(stream: &mut BodyDataStream) {
    let reading = async {
        while let Some(piece) = stream.next().await {
            piece.unwrap();
        }
    };
    tokio::time::timeout(testkit::LIMIT, reading).await.expect("it ends");
}

#[tokio::test]
async fn a_stream_ends_with_its_token_and_those_of_others_go_on() {
    let mut talk = Conversation::new().await;
    let readers = talk.world.app.tails.readers.clone();
    let leaving = talk.world.member(talk.world.org, Role::Member, &[Scope::Read]).await;
    let staying = talk.world.member(talk.world.org, Role::Member, &[Scope::Read]).await;
    let elsewhere = talk.world.other_org().await.0.to_string();
    let revoked = open(&talk.world, request("GET", &talk.path, &leaving)).await;
    let mut other = open(&talk.world, request("GET", &talk.path, &staying)).await;
    let abroad = request("GET", "/api/events", &talk.world.operator).header("cowork-org", elsewhere);
    let abroad = open(&talk.world, abroad).await;
    assert_eq!(readers.count(), 3);

    let token = format!("/api/tokens/{}", talk.world.token_id(&leaving).await);
    talk.world.delete(&token).await.expect(204);
    ended(revoked).await;
    talk.world.get_as(&leaving, &talk.path).await.expect_problem(401, "unauthenticated");
    assert_eq!(readers.count(), 2, "the others were judged, too");
    talk.say(1).await;
    let said = async { while !other.next().await.unwrap().unwrap().starts_with(b"id: 2\n") {} };
    tokio::time::timeout(testkit::LIMIT, said).await.expect("it goes on");

    drop((other, abroad));
    talk.world.delete(&token).await.expect(204);
    wait_until("nobody is left to be judged", async || readers.count() == 0).await;
}

#[tokio::test]
async fn streams_of_both_kinds_end_when_their_reader_may_read_no_longer() {
    let talk = Conversation::new().await;
    let (world, store, org) = (&talk.world, &talk.world.app.store, talk.world.org);
    let (by, any) = ("role:test", Expected::Anything);
    let streams = async |token: &str| {
        let session = open(world, request("GET", &talk.path, token)).await;
        [session, open(world, request("GET", "/api/events", token)).await]
    };
    let permit = async |permission: Permission| {
        store.role_put(org, "readers", [permission].into_iter().collect(), &any, by).await.unwrap().unwrap();
    };
    let account = async |token: &str| {
        let hash = ApiToken::parse(token).unwrap().hash();
        store.token_identify(&hash).await.unwrap().unwrap().account
    };
    permit(Permission::SessionsRead).await;
    let custom = world.member(org, RoleName::Custom("readers".into()), &[Scope::Read]).await;
    let demoted = world.member(org, Role::Viewer, &[Scope::Read]).await;
    let removed = world.member(org, Role::Viewer, &[Scope::Read]).await;

    let open_ones = streams(&custom).await;
    assert_eq!(world.app.tails.readers.count(), 1, "streams of one token are judged as one");
    permit(Permission::ArtifactsRead).await;
    futures::future::join_all(open_ones.map(ended)).await;
    world.get_as(&custom, "/api/events").await.expect_problem(403, "forbidden");

    let open_ones = streams(&demoted).await;
    store.member_change(org, account(&demoted).await, &Role::Auditor.into(), &any, by).await.unwrap();
    futures::future::join_all(open_ones.map(ended)).await;

    let open_ones = streams(&removed).await;
    store.member_remove(org, account(&removed).await, &any, by).await.unwrap();
    futures::future::join_all(open_ones.map(ended)).await;
}

#[tokio::test]
async fn a_stream_ends_when_its_token_expires() {
    let talk = Conversation::new().await;
    let soon = TimeDelta::milliseconds(20);
    let expires_at = talk.world.app.store.sources().now() + soon;
    let new = json!({"name": "short", "scopes": ["read"], "expires_at": expires_at});
    let token = talk.world.post("/api/tokens", new).await.expect(201);
    let stream = open(&talk.world, request("GET", &talk.path, token["token"].as_str().unwrap())).await;
    talk.world.clock.advance(soon);
    ended(stream).await;
}

#[tokio::test]
async fn a_stream_ends_with_the_browser_session_that_reads_it() {
    let signing = Signing::new().await;
    let (world, browser) = (&signing.world, signing.signed_in(ada()).await);
    let stream = open(world, browser.request("GET", "/api/events")).await;
    let sessions = world.get("/api/browser-sessions").await.expect(200);
    let session = sessions["items"][0]["browser_session_id"].as_str().unwrap();
    world.delete(&format!("/api/browser-sessions/{session}")).await.expect(204);
    ended(stream).await;
}

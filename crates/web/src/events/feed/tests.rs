use axum::body::Body;
use testkit::wait_until;
use tower::ServiceExt;

use super::*;
use crate::events::tests::Conversation;
use crate::testing::request;

/// (place, sequence) of a message.
fn seen(message: &Bytes) -> (FeedPlace, i64) {
    let text = std::str::from_utf8(message).unwrap();
    let place: FeedPlace = text.strip_prefix("id: ").unwrap().split_once('\n').unwrap().0.parse().unwrap();
    (place, place.sequence)
}

/// Everything of the org from `after` on.
fn open(talk: &Conversation, after: FeedPlace) -> std::pin::Pin<Box<dyn Stream<Item = (FeedPlace, i64)> + Send>> {
    let app = talk.world.app.clone();
    let present = FeedPlace::before(domain::feed::base(1));
    Box::pin(feed(app, talk.lease.org, present, Some(after)).map(|message| seen(&message)))
}

#[tokio::test]
async fn a_resumed_feed_has_no_hole_and_no_repeat() {
    let mut talk = Conversation::new().await;
    talk.say(450).await;
    let whole: Vec<_> = open(&talk, FeedPlace::beginning()).take(451).collect().await;
    assert_eq!(whole.iter().map(|seen| seen.1).collect::<Vec<_>>(), (1..=451).collect::<Vec<_>>());
    // To another process, which has no tail yet.
    for seen in [0, 100, 300, 449] {
        let rest: Vec<_> = open(&talk, whole[seen].0).take(450 - seen).collect().await;
        assert_eq!(rest, whole[seen + 1..]);
    }
    let mut waiting = open(&talk, whole[450].0);
    let (next, ()) = tokio::join!(waiting.next(), talk.say(1));
    assert_eq!(next.unwrap().1, 452);
    drop(waiting);
    let app = &talk.world.app;
    wait_until("the tail ends with its last reader", async || app.tails.feeds.is_empty()).await;
}

#[tokio::test]
async fn a_feed_without_a_place_begins_with_the_present_and_tells_it() {
    let mut talk = Conversation::new().await;
    talk.say(3).await;
    let list = talk.world.get("/api/events?limit=200").await.expect(200);
    let items = list["items"].as_array().unwrap();
    assert!(items.iter().all(|item| item["session_id"] == talk.lease.session.to_string()), "{items:?}");

    let request = request("GET", "/api/events", &talk.world.operator).header("accept", "text/event-stream");
    let response = crate::router(talk.world.app.clone()).oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body().into_data_stream();
    let first = body.next().await.unwrap().unwrap();
    let (present, _) = seen(&first);
    assert!(first.ends_with(b"\n\n") && !first.windows(5).any(|part| part == b"data:"), "{first:?}");
    talk.say(1).await;
    let mut last = 0;
    // What was committed a moment ago may still come, where another transaction of the server was older.
    while last != 5 {
        let message = body.next().await.unwrap().unwrap();
        let (place, sequence) = seen(&message);
        assert!(place > present && sequence > last);
        last = sequence;
    }
}

#[tokio::test]
async fn a_list_goes_on_where_it_ended_and_names_places_that_a_stream_takes() {
    let mut talk = Conversation::new().await;
    talk.say(4).await;
    let (world, path) = (&talk.world, "/api/events");
    let settled =
        async || world.get(&format!("{path}?limit=200")).await.expect(200)["items"].as_array().unwrap().len() == 5;
    wait_until("nothing is held back", settled).await;
    let first = world.get(&format!("{path}?limit=2")).await.expect(200);
    let cursor = first["next_cursor"].as_str().unwrap();
    assert_eq!(first["items"][1]["place"], cursor);
    assert_eq!((&first["items"][1]["sequence"], &first["items"][1]["kind"]), (&2.into(), &"message_appended".into()));
    let rest = world.get(&format!("{path}?cursor={cursor}")).await.expect(200);
    assert_eq!(rest["items"].as_array().unwrap().len(), 3);
    assert!(rest["next_cursor"].is_null());
    let mut stream = open(&talk, cursor.parse().unwrap());
    assert_eq!(stream.next().await.unwrap().1, 3);
}

#[tokio::test]
async fn a_place_that_is_none_is_refused_in_a_list_and_in_a_stream() {
    let talk = Conversation::new().await;
    talk.world.get("/api/events?cursor=yesterday").await.expect_problem(422, "invalid");
    let (positive, nobody) = ("9223372036854775808", "00000000000000000000000000000000");
    for place in ["7", "", "-1", &format!("-1-{nobody}-1"), &format!("{positive}-{nobody}-1"), &format!("1-{nobody}")] {
        refused(&talk, place).await;
    }
}

/// Whoever waited for it would miss all that comes before.
#[tokio::test]
async fn a_stream_from_a_place_that_no_feed_of_the_system_gave_is_refused() {
    let mut talk = Conversation::new().await;
    talk.say(1).await;
    let of_a_later_generation = FeedPlace { position: domain::feed::base(2), ..FeedPlace::beginning() };
    let last_of_all = FeedPlace { position: i64::MAX, ..FeedPlace::before(0) };
    for place in [of_a_later_generation, last_of_all] {
        refused(&talk, &place.to_string()).await;
    }
    let place = talk.world.app.store.feed_present(1).await.unwrap().to_string();
    let stream = request("GET", "/api/events", &talk.world.operator).header("accept", "text/event-stream");
    let stream = stream.header("last-event-id", place).body(Body::empty()).unwrap();
    let response = crate::router(talk.world.app.clone()).oneshot(stream).await.unwrap();
    assert_eq!(response.status(), 200, "the present is a place like any other");
}

async fn refused(talk: &Conversation, place: &str) {
    let stream = request("GET", "/api/events", &talk.world.operator).header("accept", "text/event-stream");
    let stream = stream.header("last-event-id", place).body(Body::empty()).unwrap();
    let problem = talk.world.send(stream).await.expect_problem(422, "invalid");
    assert!(problem["detail"].as_str().unwrap().contains("place"), "{place}: {problem}");
}

//! Two web processes of one system, as behind a proxy that gives a request to either: a stream goes on where another
//! process left off, and ends with its token, whichever of them was told.
//!
//! Both are real processes with one database. The worker is a third, so that neither is told in its own memory of what
//! is new.

use std::pin::pin;

use client::{Client, Error, Event, FeedEvent, Wish};
use e2e::{Folder, Installation, LIMIT, Served, search_path, wait_for_async};
use futures::{Stream, StreamExt as _};
use ids::SessionId;
use localpg::{Binaries, Cluster, Options};
use tokio::task::block_in_place;

/// What a reader takes from a stream before it goes elsewhere.
const A_FEW: usize = 3;

struct Story {
    webs: [Served; 2],
    worker: Served,
    session: SessionId,
    _cluster: Cluster,
    _folder: Folder,
}

impl Story {
    async fn tell() -> Self {
        let folder = Folder::new();
        let binaries = Binaries::find(search_path().as_deref()).expect("Postgres' programs are installed");
        let cluster = Cluster::start(&binaries, &folder.path().join("postgres"), Options::fast()).expect("it starts");
        cluster.create_database("cowork").expect("a database can be made");
        let system = folder.make("system");
        let more = format!("[database]\nurl = {:?}\n", cluster.url("cowork"));
        let installation = Installation::new(&system, &more);
        let (webs, worker) = block_in_place(|| {
            let _ = installation.init();
            // A ready file each, which is called after the roles.
            let webs = [installation.serve_roles("web"), installation.serve_roles("web,scheduler")];
            (webs, installation.serve_roles("worker"))
        });
        assert_ne!(webs[0].url("web"), webs[1].url("web"));
        let session = webs[0].operator().session_create("t", "scripted").await.unwrap().session_id;
        Self { webs, worker, session, _cluster: cluster, _folder: folder }
    }

    fn operators(&self) -> [Client; 2] {
        self.webs.each_ref().map(Served::operator)
    }

    /// Asks for a turn that says something again and again.
    async fn begin_to_talk(&self) {
        let text = format!("{}say the end", "stream 5 20\nsleep 100\n".repeat(8));
        self.operators()[0].command_submit(self.session, "talk", &Wish::Prompt { text }).await.unwrap();
    }

    /// All that the turn left.
    async fn told(&self) -> Vec<String> {
        let all = self.operators()[0].event_list(self.session, 0, 1_000).await.unwrap().items;
        all.iter().map(shown).collect()
    }

    fn stop(self) {
        block_in_place(|| {
            for served in self.webs.into_iter().chain([self.worker]) {
                assert_eq!(served.stop(), 0);
            }
        });
    }
}

fn shown(event: &Event) -> String {
    format!("{} {} {}", event.sequence, event.kind, event.payload)
}

fn is_last(event: &Event) -> bool {
    event.kind == "turn_ended"
}

/// What comes next of a stream, and nothing behind the end of the turn.
async fn few<T>(most: usize, stream: impl Stream<Item = Result<T, Error>>, event: impl Fn(&T) -> &Event) -> Vec<T> {
    let mut stream = pin!(stream);
    let mut few: Vec<T> = Vec::new();
    while few.len() < most && !few.last().is_some_and(|last| is_last(event(last))) {
        let next = tokio::time::timeout(LIMIT, stream.next()).await.expect("the next event comes");
        few.push(next.expect("the stream goes on").unwrap());
    }
    few
}

/// Somebody who stays at one process, so that it has a tail of the session that others come back to.
async fn stays(web: Client, session: SessionId) -> Vec<String> {
    let stream = web.event_stream(session, 0).await.unwrap();
    few(usize::MAX, stream, |event| event).await.iter().map(shown).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_goes_on_at_another_process_has_no_hole_and_no_repeat() {
    let story = Story::tell().await;
    let stay = story.operators().map(|web| tokio::spawn(stays(web, story.session)));
    story.begin_to_talk().await;
    let (mut seen, mut visits): (Vec<Event>, usize) = (Vec::new(), 0);
    for web in story.operators().iter().cycle() {
        let after = seen.last().map_or(0, |event| event.sequence);
        let stream = web.event_stream(story.session, after).await.unwrap();
        seen.extend(few(A_FEW, stream, |event| event).await);
        visits += 1;
        if seen.last().is_some_and(is_last) {
            break;
        }
    }
    assert!(visits > 4, "{visits} visits: both processes had the reader more than once");
    let told = story.told().await;
    assert_eq!(seen.iter().map(shown).collect::<Vec<_>>(), told);
    for stayed in stay {
        assert_eq!(stayed.await.unwrap(), told);
    }
    story.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_that_goes_on_at_another_process_has_no_hole_and_no_repeat() {
    let story = Story::tell().await;
    story.begin_to_talk().await;
    let mut seen: Vec<FeedEvent> = Vec::new();
    let beginning = format!("0-{}-0", "0".repeat(32));
    for web in story.operators().iter().cycle() {
        let after = seen.last().map_or(&beginning, |event| &event.place);
        let stream = web.feed_stream(Some(after.as_str())).await.unwrap();
        let next = few(A_FEW, stream, |fed: &FeedEvent| &fed.event).await;
        seen.extend(next);
        if seen.last().is_some_and(|fed| is_last(&fed.event)) {
            break;
        }
    }
    assert!(seen.iter().all(|fed| fed.session_id == story.session), "there is no other session");
    assert_eq!(seen.iter().map(|fed| shown(&fed.event)).collect::<Vec<_>>(), story.told().await);
    story.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_revoked_at_one_process_ends_its_streams_at_the_other() {
    let story = Story::tell().await;
    let [first, second] = story.operators();
    let made = first.token_create("reader", &["read"], None).await.unwrap();
    let reader = Client::new(story.webs[0].url("web"), made.token);
    let of_session = reader.event_stream(story.session, 0).await.unwrap();
    let of_feed = reader.feed_stream(None).await.unwrap();
    let staying = tokio::spawn(stays(first, story.session));

    second.token_revoke(made.token_id).await.unwrap();
    let ended = async { tokio::join!(of_session.count(), of_feed.count()) };
    tokio::time::timeout(LIMIT, ended).await.expect("both end");
    wait_for_async("the first process knows of it, too", async || {
        let refused = reader.event_list(story.session, 0, 1).await.err()?;
        (refused.status() == Some(401)).then_some(())
    })
    .await;

    story.begin_to_talk().await;
    assert_eq!(staying.await.unwrap(), story.told().await, "another token's stream goes on");
    story.stop();
}

use domain::details::{Tags, wanted};
use domain::version::{Expected, RowVersion};
use ids::OrgId;
use sqlx::AssertSqlSafe;

use super::*;
use crate::batcher::{Answered, Ask as _, Locked};
use crate::testing::{World, waits};
use crate::{ChangeError, EnqueueError};

fn tagged(tags: &[&str]) -> SessionChange {
    SessionChange { tags: Some(Tags::new(tags).unwrap()), ..SessionChange::default() }
}

fn renamed(title: &str) -> SessionChange {
    SessionChange { title: Some(title.into()), ..SessionChange::default() }
}

fn archived(archived: bool) -> SessionChange {
    SessionChange { archived: Some(archived), ..SessionChange::default() }
}

impl World {
    async fn change(&self, session: SessionId, change: &SessionChange) -> SessionDetails {
        self.store.session_change(self.org, session, change, &Expected::Anything, "account:1").await.unwrap()
    }

    async fn found(&self, text: Option<&str>, tags: &[&str]) -> Vec<SessionId> {
        let search = SessionSearch { terms: wanted(text, tags).unwrap(), ..SessionSearch::default() };
        let (found, _) = self.store.sessions_search(self.org, &search, None, 10).await.unwrap();
        found.into_iter().map(|session| session.session_id).collect()
    }
}

#[tokio::test]
async fn a_session_is_found_by_what_it_is_called_now() {
    let world = World::new().await;
    let (first, second) = (world.session().await, world.session().await);
    assert_eq!(world.found(Some("plan"), &[]).await, [first, second]);
    world.change(first, &renamed("Groceries for the week")).await;
    world.change(second, &tagged(&["ops", "Week"])).await;
    assert_eq!(world.found(Some("PLAN"), &[]).await, [second]);
    assert_eq!(world.found(Some("week groceries"), &[]).await, [first]);
    assert_eq!(world.found(None, &["week"]).await, [second]);
    assert_eq!(world.found(Some("plan"), &["ops", "week"]).await, [second]);
    assert_eq!(world.found(Some("groceries"), &["ops"]).await, []);
    world.change(second, &tagged(&["ops"])).await;
    assert_eq!(world.found(None, &["week"]).await, []);
    let stranger: OrgId = world.store.org_create("Other", "role:test").await.unwrap().org_id;
    let search = SessionSearch { terms: wanted(Some("plan"), &[]).unwrap(), ..SessionSearch::default() };
    assert_eq!(world.store.sessions_search(stranger, &search, None, 10).await.unwrap(), (vec![], None));
}

#[tokio::test]
async fn a_change_for_another_state_than_the_present_one_changes_nothing() {
    let world = World::new().await;
    let session = world.session().await;
    let seen = world.store.session_details(world.org, session).await.unwrap().unwrap().version;
    let expected = Expected::OneOf(vec![seen]);
    let first = world.store.session_change(world.org, session, &renamed("A"), &expected, "account:1").await.unwrap();
    assert_eq!(first.version, RowVersion { version: seen.version + 1, ..seen });
    let second = world.store.session_change(world.org, session, &renamed("B"), &expected, "account:2").await;
    assert!(matches!(second, Err(ChangeError::Stale(_))));
    // What changes nothing is no new state, and nothing to tell of.
    assert_eq!(world.change(session, &renamed("A")).await, first);
    let (trail, _) = world.store.audit_list(world.org, &crate::AuditFilter::default(), 0, 10).await.unwrap();
    let actions: Vec<&str> = trail.iter().map(|record| record.action.as_str()).collect();
    assert_eq!(actions, ["org.create", "session.rename"]);
}

#[tokio::test]
async fn events_of_a_session_leave_the_version_of_its_details_as_it_is() {
    let world = World::new().await;
    let (session, _) = world.ready().await;
    let before = world.store.session_details(world.org, session).await.unwrap();
    world.claim(1).await;
    assert_eq!(world.store.session_details(world.org, session).await.unwrap(), before);
}

#[tokio::test]
async fn an_archived_session_takes_no_prompt_but_knows_those_that_it_took() {
    let world = World::new().await;
    let (session, first) = world.ready().await;
    world.change(session, &archived(true)).await;
    let refused = world.store.command_enqueue(&world.prompt(session, "second")).await;
    assert!(matches!(refused, Err(EnqueueError::Archived)), "{refused:?}");
    let repeated = world.store.command_enqueue(&world.prompt(session, "first")).await.unwrap();
    assert_eq!((repeated.command, repeated.created), (first, false));
    let wish = domain::command::Wish::Abort {};
    let abort = crate::NewCommand { wish, ..world.prompt(session, "abort") };
    world.store.command_enqueue(&abort).await.unwrap();
    assert_eq!(world.claim(1).await.len(), 1, "what was acknowledged is carried out");
    world.change(session, &archived(false)).await;
    world.store.command_enqueue(&world.prompt(session, "second")).await.unwrap();
}

#[tokio::test]
async fn a_prompt_that_waits_for_somebody_who_archives_is_refused() {
    let world = World::new().await;
    let session = world.session().await;
    let mut archiving = world.store.pool.begin().await.unwrap();
    sqlx::query("UPDATE sessions SET archived_at = now()").execute(&mut *archiving).await.unwrap();
    let (store, prompt) = (world.store.clone(), world.prompt(session, "k"));
    let prompting = tokio::spawn(async move { store.command_enqueue(&prompt).await });
    waits(&world.store, "-- command_take%").await;
    archiving.commit().await.unwrap();
    let refused = prompting.await.unwrap();
    assert!(matches!(refused, Err(EnqueueError::Archived)), "{refused:?}");
    assert!(world.store.commands_list(world.org, session, 0, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn sessions_that_are_looked_at_together_are_each_seen_as_they_are() {
    let world = World::new().await;
    let mut sessions = Vec::new();
    for n in 0..100 {
        let session = world.session().await;
        world.change(session, &renamed(&format!("Plan {n}"))).await;
        sessions.push(session);
    }
    let other = world.store.org_create("Other", "role:test").await.unwrap().org_id;
    let asked: Vec<_> =
        [world.org, other].into_iter().flat_map(|org| sessions.iter().map(move |one| (org, *one))).collect();
    let views = asked.iter().map(|(org, session)| world.store.session_view(*org, *session));
    for ((org, session), view) in asked.iter().zip(futures::future::join_all(views).await) {
        let seen = view.unwrap();
        assert_eq!(seen.is_some(), *org == world.org);
        if let Some((seen, projection)) = seen {
            assert_eq!(Some(seen), world.store.session_by_id(*org, *session).await.unwrap());
            assert_eq!(projection.sequence, 1);
        }
    }
    let unknown: SessionId = world.store.sources().id();
    assert!(world.store.session_view(world.org, unknown).await.unwrap().is_none());
}

#[tokio::test]
async fn a_search_looks_at_a_bounded_stretch_and_goes_on_behind_it() {
    let world = World::new().await;
    furnish(&world, 2_500).await;
    let search = SessionSearch { archived: Some(true), ..SessionSearch::default() };
    for terms in [vec![], vec!["word:common".to_owned()], vec!["word:common".to_owned(), "word:rare".to_owned()]] {
        let search = SessionSearch { terms, ..search.clone() };
        let (mut found, mut pages, mut after) = (Vec::new(), 0, None);
        loop {
            let (page, next) = world.store.sessions_search(world.org, &search, after, 10).await.unwrap();
            found.extend(page);
            pages += 1;
            after = next;
            if next.is_none() {
                break;
            }
        }
        assert_eq!((found.len(), pages), (1, 3), "{search:?}");
    }
}

/// Of so many sessions with a common word the last one has a rare one, too, and is archived.
async fn furnish(world: &World, sessions: i64) {
    let statements = [
        "INSERT INTO sessions (org_id, session_id, title, agent, last_sequence, last_ordinal, generation,
            fencing_counter, created_at, updated_at)
         SELECT org_id, lpad(to_hex(n), 32, '0')::uuid, '', '', 0, 0, 1, 0, now(), now()
         FROM orgs, generate_series(1, $1::bigint) AS n",
        "INSERT INTO projections (org_id, session_id, sequence, content, updated_at)
         SELECT org_id, session_id, 0, '{\"state\": \"idle\"}', now() FROM sessions LIMIT $1",
        "INSERT INTO session_terms SELECT org_id, session_id, 'word:common' FROM sessions LIMIT $1",
        "INSERT INTO session_terms SELECT org_id, lpad(to_hex($1::bigint), 32, '0')::uuid, 'word:rare' FROM orgs",
        "UPDATE sessions SET archived_at = now() WHERE session_id = lpad(to_hex($1::bigint), 32, '0')::uuid",
    ];
    for statement in statements {
        sqlx::query(statement).bind(sessions).execute(&world.store.pool).await.unwrap();
    }
    sqlx::query("ANALYZE sessions, projections, session_terms").execute(&world.store.pool).await.unwrap();
}

#[tokio::test]
async fn a_search_reads_no_more_than_its_stretch() {
    let world = World::new().await;
    furnish(&world, 20_000).await;
    let org = format!("'{}'", world.org);
    let values = [
        ("$1", &*org),
        ("$2", "lpad(to_hex(999), 32, '0')::uuid"),
        ("$3", "lpad(to_hex(1999), 32, '0')::uuid"),
        ("$4", "NULL"),
        ("$5", "NULL"),
        ("$6", "NULL"),
        ("$7", "50"),
        ("$8", "'word:common'"),
        ("$9", "'{word:rare}'"),
    ];
    for statement in [include_str!("search_all.sql"), include_str!("search_terms.sql")] {
        let sql = values.iter().fold(statement.to_owned(), |sql, (name, value)| sql.replace(name, value));
        let explain = format!("EXPLAIN (COSTS OFF) {}", sql.replace(": SessionId", "").replace(": CheckpointId", ""));
        let plan: Vec<String> = sqlx::query_scalar(AssertSqlSafe(explain)).fetch_all(&world.store.pool).await.unwrap();
        let plan = plan.join("\n");
        assert!(!plan.contains("Seq Scan"), "{plan}");
        // Each table is read from where the stretch begins, or row by row.
        for condition in plan.lines().filter(|line| line.contains("Index Cond")) {
            assert!(condition.contains("session_id >") || condition.contains("session_id ="), "{plan}");
        }
    }
}

#[tokio::test]
async fn a_list_reads_no_more_than_its_page() {
    let world = World::new().await;
    furnish(&world, 20_000).await;
    let sql = include_str!("list.sql").replace(": SessionId", "").replace(": CheckpointId", "");
    let mut connection = world.store.pool.acquire().await.unwrap();
    // As a web process asks, behind the wall between tenants.
    let said = format!(
        "SET ROLE {}; SET cowork.org = '{}'; SET plan_cache_mode = force_generic_plan",
        crate::wall::ROLE,
        world.org
    );
    for statement in [said, format!("PREPARE pages (uuid, uuid[], bigint[]) AS {sql}")] {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *connection).await.unwrap();
    }
    let explain = format!(
        "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF)
         EXECUTE pages ('{}', ARRAY[lpad(to_hex(9999), 32, '0'), lpad(to_hex(500), 32, '0')]::uuid[], '{{50, 50}}')",
        world.org
    );
    let rows = sqlx::raw_sql(AssertSqlSafe(explain)).fetch_all(&mut *connection).await.unwrap();
    let plan: Vec<String> = rows.iter().map(|row| sqlx::Row::get(row, 0)).collect();
    let scans: Vec<&String> = plan.iter().filter(|line| line.contains("Index Scan")).collect();
    assert_eq!(scans.len(), 2, "{plan:#?}");
    assert!(scans[0].contains("rows=50 loops=2") && scans[1].contains("rows=1 loops=100"), "{plan:#?}");
    assert!(!plan.iter().any(|line| line.contains("Seq Scan") || line.contains("Sort")), "{plan:#?}");
}

fn imported(world: &World) -> NewImport {
    use domain::event::MessageRole;
    use domain::import::{History, Said};
    let said = |role, text: &str| Said { role, text: text.into(), at: None };
    let messages = vec![said(MessageRole::User, "what do we need?"), said(MessageRole::Agent, "milk")];
    let history = History::new("elsewhere".into(), messages, world.store.sources().now()).unwrap();
    let session = NewSession { org: world.org, created_by: None, title: "Groceries".into(), agent: "scripted".into() };
    NewImport { session, tags: Tags::new(["home"]).unwrap(), history }
}

#[tokio::test]
async fn an_imported_session_is_what_its_events_add_up_to() {
    let world = World::new().await;
    let session = world.store.session_import(1, &imported(&world), "account:1").await.unwrap();
    let events = world.store.events_after(world.org, session, 0, 100).await.unwrap();
    assert_eq!(events.iter().map(|event| event.sequence).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let (found, stored) = world.store.session_view(world.org, session).await.unwrap().unwrap();
    let projection = Projection::rebuild(events.iter().map(|event| &event.event));
    assert_eq!((found.last_sequence, stored.sequence), (4, 4));
    assert_eq!(stored.to_value(), serde_json::to_value(projection).unwrap());
    assert_eq!(world.found(Some("groceries"), &["home"]).await, [session]);
    assert!(world.claim(1).await.is_empty(), "there is nothing to do");

    world.store.command_enqueue(&world.prompt(session, "k")).await.unwrap();
    let lease = world.claim(1).await.remove(0);
    let held = world.store.lease_load(&lease).await.unwrap();
    assert_eq!((held.last_sequence, held.projection.message_count), (4, 2));
}

#[tokio::test]
async fn pages_that_share_a_statement_are_each_what_was_asked_for() {
    let world = World::new().await;
    let mut sessions = Vec::new();
    for _ in 0..6 {
        sessions.push(world.session().await);
    }
    sessions.sort_unstable();
    sqlx::query("DELETE FROM projections WHERE session_id = $1")
        .bind(sessions[1].as_uuid())
        .execute(&world.store.pool)
        .await
        .unwrap();
    let seen = [&sessions[..1], &sessions[2..]].concat();
    let wanted =
        [(None, 2), (None, 200), (Some(sessions[2]), 2), (Some(sessions[5]), 2), (None, 0), (Some(sessions[0]), 1)];
    let asked: Vec<List> = wanted.iter().map(|(after, limit)| List::page(*after, *limit)).collect();
    let pages = List::carry_out(&world.store, world.org, &asked, Locked::LeaveOut).await.unwrap();
    let pages: Vec<Vec<SessionId>> = pages
        .into_iter()
        .map(|page| match page {
            Answered::Done(page) => page.into_iter().map(|session| session.session_id).collect(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(pages, [&seen[..2], &seen[..], &seen[2..4], &[], &seen[..1], &seen[1..2]]);
    let alone = world.store.sessions_list(world.org, Some(sessions[2]), 2).await.unwrap();
    assert_eq!(alone.iter().map(|session| session.session_id).collect::<Vec<_>>(), pages[2]);
    let other = world.store.org_create("Other", "role:test").await.unwrap().org_id;
    assert!(world.store.sessions_list(other, None, 200).await.unwrap().is_empty());
}

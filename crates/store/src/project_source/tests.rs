use std::collections::HashMap;

use domain::tenancy::Role;
use testkit::wait_until;

use super::*;
use crate::testing::World;
use crate::{AuditFilter, ErasedFor, NewMember, NewSession, NewUpload, SessionStart, UploadError};

async fn person(world: &World) -> AccountId {
    let new = NewMember { email: "ada@example.org".into(), display_name: "Ada".into(), role: Role::Member.into() };
    world.store.member_add(world.org, &new, "role:test").await.unwrap().unwrap().account_id
}

async fn upload(world: &World) -> UploadId {
    let (name, media_type) = ("a.zip".to_owned(), "application/zip".to_owned());
    let new = NewUpload { org: world.org, session: None, name, media_type, size: 1, sha256: vec![7; 32] };
    world.store.upload_create(&new).await.unwrap().upload_id
}

fn new(world: &World, key: &str) -> NewProjectSource {
    NewProjectSource {
        project_source: world.store.sources().id(),
        name: "shop".into(),
        format: "zip".into(),
        files: 1,
        bytes: 3,
        left_out: vec![(".env".into(), "may hold secrets".into())],
        left_out_count: 1,
        blob: BlobRow { key: key.into(), size: 2, sha256: vec![8; 32] },
    }
}

async fn made(world: &World, by: AccountId) -> ProjectSourceId {
    let new = new(world, "packed");
    world.store.project_source_create(world.org, SourceOrigin::Upload(upload(world).await), &new, by).await.unwrap();
    new.project_source
}

fn session(world: &World) -> NewSession {
    NewSession { org: world.org, created_by: None, title: "Plan".into(), agent: "scripted".into() }
}

/// Keys of objects whose deletion is due, when every grace is over.
async fn doomed(world: &World) -> Vec<String> {
    world.clock.advance(blob_deletion::GRACE);
    let due = world.store.blob_deletions_take(10).await.unwrap().due;
    due.into_iter().map(|deletion| deletion.key).collect()
}

/// As if a turn of it had ended; there is no checkpoint behind it.
async fn has_saved(world: &World, session: SessionId) {
    let mut tx = world.store.pool.begin().await.unwrap();
    sqlx::query("SET LOCAL session_replication_role = replica").execute(&mut *tx).await.unwrap();
    let saved = "UPDATE sessions SET checkpoint_id = session_id WHERE session_id = $1";
    sqlx::query(saved).bind(uuid::Uuid::from(session)).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
}

fn from(source: ProjectSourceId) -> SessionStart {
    SessionStart { source: Some(source), ..SessionStart::default() }
}

#[tokio::test]
async fn a_source_takes_the_place_of_its_upload_once() {
    let world = World::new().await;
    let (by, upload) = (person(&world).await, upload(&world).await);
    let first = new(&world, "one");
    world.store.project_source_create(world.org, SourceOrigin::Upload(upload), &first, by).await.unwrap();
    let again =
        world.store.project_source_create(world.org, SourceOrigin::Upload(upload), &new(&world, "other"), by).await;
    assert!(matches!(again, Err(ProjectSourceError::NoSuchUpload)));
    let found = world.store.project_source_get(world.org, first.project_source).await.unwrap().unwrap();
    assert_eq!((found.left_out, found.size, found.sha256), (first.left_out, 2, vec![8; 32]));
    let blob = world.store.project_source_blob(world.org, first.project_source).await.unwrap();
    assert_eq!(blob, Some(first.blob));
}

#[tokio::test]
async fn an_upload_that_belongs_to_no_session_becomes_no_artifact() {
    let world = World::new().await;
    let (name, media_type) = ("a".to_owned(), "text/plain".to_owned());
    let blob = BlobRow { key: "whole".into(), size: 1, sha256: vec![7; 32] };
    let new = crate::NewArtifact { artifact: world.store.sources().id(), name, media_type, blob };
    let refused = world.store.upload_complete(world.org, upload(&world).await, &new, "account:1").await;
    assert!(matches!(refused, Err(UploadError::NoSession)));
}

#[tokio::test]
async fn a_source_outlives_every_session_that_waits_for_it_and_then_its_object_goes() {
    let world = World::new().await;
    let by = person(&world).await;
    let source = made(&world, by).await;
    let begun = world.store.session_begin(1, &session(&world), &from(source)).await.unwrap().unwrap();
    let refused = world.store.project_source_delete(world.org, source, "role:test").await;
    assert!(matches!(refused, Err(ProjectSourceError::Needed)));
    has_saved(&world, begun).await;
    world.store.project_source_delete(world.org, source, "role:test").await.unwrap();
    assert_eq!(world.store.session_begin(1, &session(&world), &from(source)).await.unwrap(), None);
    let details = world.store.session_details(world.org, begun).await.unwrap().unwrap();
    assert_eq!(details.project_source_id, Some(source), "it is still known what it began with");
    assert_eq!(doomed(&world).await, ["packed"]);
}

#[tokio::test]
async fn a_source_is_not_deleted_under_a_session_that_is_just_beginning() {
    let world = World::new().await;
    let by = person(&world).await;
    let source = made(&world, by).await;
    let mut beginning = world.store.pool.begin().await.unwrap();
    assert!(share(&mut beginning, world.org, source).await.unwrap());
    let (store, org) = (world.store.clone(), world.org);
    let deleting = tokio::spawn(async move { store.project_source_delete(org, source, "role:test").await });
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    let waiting = async || sqlx::query_scalar::<_, i64>(waits).fetch_one(&world.store.pool).await.unwrap() > 0;
    wait_until("the deletion waits", waiting).await;
    let id = crate::session::insert(&mut beginning, &world.store.sources, 1, &session(&world)).await.unwrap();
    let named = "UPDATE sessions SET project_source_id = $2 WHERE session_id = $1";
    let named = sqlx::query(named).bind(uuid::Uuid::from(id)).bind(uuid::Uuid::from(source));
    named.execute(&mut *beginning).await.unwrap();
    beginning.commit().await.unwrap();
    assert!(matches!(deleting.await.unwrap(), Err(ProjectSourceError::Needed)));
}

#[tokio::test]
async fn an_erasure_takes_the_sources_that_the_person_made() {
    let world = World::new().await;
    let by = person(&world).await;
    let source = made(&world, by).await;
    world.store.session_begin(1, &session(&world), &from(source)).await.unwrap().unwrap();
    world.store.subject_erase(by, ErasedFor::Installation, "role:test").await.unwrap();
    world.store.subject_erasure_carry_out(by).await.unwrap();
    assert_eq!(world.store.project_source_get(world.org, source).await.unwrap(), None);
    let erasure = world.store.subject_erasure(by, ErasedFor::Installation).await.unwrap().unwrap();
    assert_eq!(erasure.blobs, 1);
    let named = "SELECT count(*) FROM audit_records WHERE detail::text LIKE '%shop%'";
    let named: i64 = sqlx::query_scalar(named).fetch_one(&world.store.pool).await.unwrap();
    assert_eq!(named, 0, "the trail quotes its name");
    assert_eq!(doomed(&world).await, ["packed"]);
}

#[tokio::test]
async fn a_source_of_a_repository_says_which_commit_it_has() {
    let world = World::new().await;
    let by = person(&world).await;
    let repository = SourceRepository {
        url: "https://example.org/shop.git".into(),
        reference: "main".into(),
        commit: "0a".repeat(20),
    };
    let fetched = NewProjectSource { format: "git".into(), ..new(&world, "fetched") };
    let origin = SourceOrigin::Repository(&repository);
    world.store.project_source_create(world.org, origin, &fetched, by).await.unwrap();
    let uploaded = made(&world, by).await;
    let listed = world.store.project_source_list(world.org, None, 10).await.unwrap();
    let told: HashMap<_, _> = listed.into_iter().map(|source| (source.project_source_id, source.repository)).collect();
    assert_eq!(told, HashMap::from([(fetched.project_source, Some(repository)), (uploaded, None)]));
    let (records, _) = world.store.audit_list(world.org, &AuditFilter::default(), 0, 10).await.unwrap();
    assert!(records.iter().any(|record| record.detail["commit"] == "0a".repeat(20)), "{records:?}");
}

use std::io::{Cursor, Write as _};

use axum::body::Body;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{GIT_USERNAME, GitRepository, GitServer};

use super::*;
use crate::testing::{Answer, World, request};

fn zip(files: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(content.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// The id of an upload of its own that has all of its parts but for those that were not sent.
async fn uploaded(world: &World, content: &[u8], sha256: &str) -> Value {
    let new = json!({"name": "a.zip", "media_type": "application/zip", "size": content.len(), "sha256": sha256});
    let upload = world.post("/api/uploads", new).await.expect(201);
    assert_eq!(upload["session_id"], json!(null));
    let path = format!("/api/uploads/{}/parts/1", upload["upload_id"].as_str().unwrap());
    let put = request("PUT", &path, &world.operator).body(Body::from(content.to_vec())).unwrap();
    world.send(put).await.expect(204);
    upload["upload_id"].clone()
}

async fn make(world: &World, content: &[u8]) -> Answer {
    let upload = uploaded(world, content, &hex::encode(Sha256::digest(content))).await;
    world.post("/api/project-sources", json!({"name": " shop ", "upload_id": upload})).await
}

/// One with a file.
pub(crate) async fn made(world: &World) -> Value {
    make(world, &zip(&[("src/main.py", "print()")])).await.expect(201)
}

#[tokio::test]
async fn an_archive_becomes_a_source_without_its_secrets_and_the_upload_is_gone() {
    let world = World::new().await;
    let content = zip(&[("src/main.py", "print()"), (".env", "KEY=1"), ("README.md", "hi")]);
    let upload = uploaded(&world, &content, &hex::encode(Sha256::digest(&content))).await;
    let made = world.post("/api/project-sources", json!({"name": " shop ", "upload_id": upload})).await.expect(201);
    insta::assert_json_snapshot!(made, {".project_source_id" => "[id]"}, @r#"
    {
      "bytes": 9,
      "created_at": "2024-10-04T00:00:00Z",
      "files": 2,
      "format": "zip",
      "left_out": [
        {
          "path": ".env",
          "why": "may hold secrets"
        }
      ],
      "left_out_count": 1,
      "name": "shop",
      "project_source_id": "[id]",
      "repository": null
    }
    "#);
    let path = format!("/api/project-sources/{}", made["project_source_id"].as_str().unwrap());
    assert_eq!(world.get(&path).await.expect(200), made);
    assert_eq!(world.get("/api/project-sources").await.expect(200)["items"], json!([made]));
    let upload = format!("/api/uploads/{}", upload.as_str().unwrap());
    world.get(&upload).await.expect_problem(404, "not_found");
    world.delete(&path).await.expect(204);
    world.get(&path).await.expect_problem(404, "not_found");
    world.delete(&path).await.expect_problem(404, "not_found");
}

#[tokio::test]
async fn a_refused_archive_says_what_of_it_and_nothing_is_made() {
    let world = World::new().await;
    let many: Vec<String> = (0..12).map(|n| format!("../{n}")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "x")).collect();
    for (content, said) in [
        (zip(&[("good", "x"), ("../evil", "x")]), "“../evil”: it leads out of the workspace"),
        (zip(&many), "and 2 more"),
        (b"no archive".to_vec(), "neither a tar.gz nor a zip"),
        (zip(&[(".env", "x")]), "no file"),
    ] {
        let problem = make(&world, &content).await.expect_problem(422, "archive_refused");
        assert!(problem["detail"].as_str().unwrap().contains(said), "{problem}");
    }
    assert_eq!(world.get("/api/project-sources").await.expect(200)["items"], json!([]));
}

#[tokio::test]
async fn an_upload_that_is_not_what_was_declared_becomes_no_source_and_one_without_a_session_no_artifact() {
    let world = World::new().await;
    let content = zip(&[("a", "x")]);
    let wrong = uploaded(&world, &content, &"0".repeat(64)).await;
    let new = json!({"name": "shop", "upload_id": wrong});
    world.post("/api/project-sources", new).await.expect_problem(409, "conflict");
    let empty = json!({"name": "a", "media_type": "application/zip", "size": 3, "sha256": "0".repeat(64)});
    let partless = world.post("/api/uploads", empty).await.expect(201)["upload_id"].clone();
    let new = json!({"name": "shop", "upload_id": partless});
    world.post("/api/project-sources", new).await.expect_problem(409, "conflict");
    let whole = uploaded(&world, &content, &hex::encode(Sha256::digest(&content))).await;
    let complete = format!("/api/uploads/{}/complete", whole.as_str().unwrap());
    world.post(&complete, json!({})).await.expect_problem(409, "conflict");
}

#[tokio::test]
async fn a_session_begins_with_a_source_which_stays_until_it_has_begun() {
    let world = World::new().await;
    let source = made(&world).await["project_source_id"].clone();
    let begin = |source: &Value| json!({"title": "Plan", "project_source": source});
    let session = world.post("/api/sessions", begin(&source)).await.expect(201)["session_id"].clone();
    let details = format!("/api/sessions/{}/details", session.as_str().unwrap());
    assert_eq!(world.get(&details).await.expect(200)["project_source_id"], source);
    let path = format!("/api/project-sources/{}", source.as_str().unwrap());
    world.delete(&path).await.expect_problem(409, "conflict");
    let nobody = json!("0192a000-0000-7000-8000-0000000000a1");
    world.post("/api/sessions", begin(&nobody)).await.expect_problem(404, "not_found");
    let plain = world.post("/api/sessions", json!({"title": "Plan"})).await.expect(201)["session_id"].clone();
    let details = format!("/api/sessions/{}/details", plain.as_str().unwrap());
    assert_eq!(world.get(&details).await.expect(200)["project_source_id"], json!(null));
}

#[tokio::test]
async fn a_source_of_another_org_is_neither_seen_nor_begun_with() {
    let world = World::new().await;
    let source = made(&world).await["project_source_id"].clone();
    let (_, stranger) = world.other_org().await;
    let path = format!("/api/project-sources/{}", source.as_str().unwrap());
    world.get_as(&stranger, &path).await.expect_problem(404, "not_found");
    world.delete_as(&stranger, &path).await.expect_problem(404, "not_found");
    assert_eq!(world.get_as(&stranger, "/api/project-sources").await.expect(200)["items"], json!([]));
    let begin = json!({"title": "Plan", "project_source": source});
    world.post_as(&stranger, "/api/sessions", begin).await.expect_problem(404, "not_found");
}

/// A repository of this machine, and a way to it.
struct Elsewhere {
    world: World,
    repository: GitRepository,
    server: GitServer,
    secret: String,
    _folder: TempDir,
}

impl Elsewhere {
    async fn new() -> Self {
        let (mut world, folder) = (World::new().await, tempfile::tempdir().unwrap());
        world.fetch_from_here(folder.path());
        let repository = GitRepository::create(folder.path());
        std::fs::write(repository.tree().join("main.py"), "print()").unwrap();
        std::fs::write(repository.tree().join(".env"), "KEY=1").unwrap();
        let secret = testkit::system_sources().id::<uuid::Uuid>().to_string();
        let server = GitServer::start(folder.path(), &secret).await;
        Self { world, repository, server, secret, _folder: folder }
    }

    async fn make(&self, name: &str, more: Value) -> Answer {
        let mut repository = json!({"url": self.server.address(name)});
        repository.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.world.post("/api/project-sources", json!({"name": "shop", "repository": repository})).await
    }
}

#[tokio::test]
async fn the_files_of_a_commit_become_a_source_that_says_which_commit_it_was() {
    let elsewhere = Elsewhere::new().await;
    let commit = elsewhere.repository.commit();
    let made = elsewhere.make("shop.git", json!({"ref": "main"})).await.expect(201);
    let repository = json!({"url": elsewhere.server.address("shop.git"), "ref": "main", "commit": commit});
    assert_eq!(made["repository"], repository);
    assert_eq!((&made["format"], &made["files"], &made["bytes"]), (&json!("git"), &json!(1), &json!(7)));
    assert_eq!(made["left_out"], json!([{"path": ".env", "why": "may hold secrets"}]));
    let path = format!("/api/project-sources/{}", made["project_source_id"].as_str().unwrap());
    assert_eq!(elsewhere.world.get(&path).await.expect(200), made);
    let session = json!({"title": "Plan", "project_source": made["project_source_id"]});
    elsewhere.world.post("/api/sessions", session).await.expect(201);
    let head = elsewhere.make("shop.git", json!({})).await.expect(201);
    assert_eq!((&head["repository"]["ref"], &head["repository"]["commit"]), (&json!("HEAD"), &json!(commit)));
}

#[tokio::test]
async fn a_credential_opens_a_repository_and_is_kept_nowhere() {
    let elsewhere = Elsewhere::new().await;
    let _ = elsewhere.repository.commit();
    let bring = |secret: &str| json!({"credential": {"username": GIT_USERNAME, "secret": secret}});
    let refused = elsewhere.make("private.git", bring("wrong")).await;
    refused.expect_problem(422, "repository_refused");
    let made = elsewhere.make("private.git", bring(&elsewhere.secret)).await.expect(201);
    let audit = elsewhere.world.get("/api/audit").await.expect(200);
    for told in [made, audit] {
        assert!(!told.to_string().contains(&elsewhere.secret), "{told}");
    }
}

#[tokio::test]
async fn a_repository_that_is_not_fetched_says_why_and_nothing_is_made() {
    let elsewhere = Elsewhere::new().await;
    let _ = elsewhere.repository.commit();
    for (name, more, code, said) in [
        ("shop.git", json!({"ref": "nowhere"}), "repository_refused", "no such branch"),
        ("shop.git", json!({"ref": "--upload-pack=id"}), "invalid", "a reference is"),
        ("shop.git?x=1", json!({}), "invalid", "a query"),
        ("other.git", json!({}), "repository_refused", "there is no repository"),
        ("moved.git", json!({}), "repository_refused", "another address"),
        ("shop.git", json!({"url": "http://10.0.0.1/shop.git"}), "destination_refused", "web.repository_networks"),
        ("shop.git", json!({"url": "ssh://example.org/shop.git"}), "invalid", "https"),
        ("shop.git", json!({"url": "https://ada:x@example.org/a"}), "invalid", "credential"),
    ] {
        let problem = elsewhere.make(name, more).await.expect_problem(422, code);
        assert!(problem["detail"].as_str().unwrap().contains(said), "{problem}");
    }
    let world = &elsewhere.world;
    let both = json!({"name": "shop", "upload_id": uuid::Uuid::nil(), "repository": {"url": "https://example.org/a"}});
    world.post("/api/project-sources", both).await.expect_problem(422, "invalid");
    assert_eq!(world.get("/api/project-sources").await.expect(200)["items"], json!([]));
}

#[tokio::test]
async fn a_copy_for_a_drill_fetches_nothing() {
    let world = World::new().await;
    let new = json!({"name": "shop", "repository": {"url": "https://example.org/shop.git"}});
    world.post("/api/project-sources", new).await.expect_problem(409, "conflict");
}

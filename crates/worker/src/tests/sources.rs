//! Workspaces that begin with a project source.

use std::io::{Cursor, Write as _};
use std::path::PathBuf;

use domain::command::CommandState;
use ids::{ProjectSourceId, SessionId};
use objects::ObjectKeys;
use store::{BlobRow, NewProjectSource, NewSession, NewUpload, SessionStart, SourceOrigin};

use super::world::World;

fn archive() -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in [("src/main.py", "print()"), ("README.md", "hello")] {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(content.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

impl World {
    /// A source, and the key of its object.
    async fn source(&self) -> (ProjectSourceId, String) {
        let (store, org) = (&self.store, self.org);
        let (name, media_type) = ("a.zip".to_owned(), "application/zip".to_owned());
        let new = NewUpload { org, session: None, name, media_type, size: 1, sha256: vec![7; 32] };
        let upload = store.upload_create(&new).await.unwrap().upload_id;
        let (packed, project_source) = (projects::pack(&archive()).unwrap(), store.sources().id());
        let key = ObjectKeys { org, generation: self.generation }.project_source(project_source);
        let blob = self.objects.put(&key, packed.content.into()).await.unwrap();
        let blob = BlobRow { key: key.clone(), size: blob.size.try_into().unwrap(), sha256: blob.sha256.to_vec() };
        let new = NewProjectSource {
            project_source,
            name: "shop".into(),
            format: "zip".into(),
            files: 2,
            bytes: 12,
            left_out: Vec::new(),
            left_out_count: 0,
            blob,
        };
        store.project_source_create(org, SourceOrigin::Upload(upload), &new, store.sources().id()).await.unwrap();
        (project_source, key)
    }

    async fn session_from(&self, source: ProjectSourceId) -> SessionId {
        let new = NewSession { org: self.org, created_by: None, title: "Plan".into(), agent: "scripted".into() };
        let from = SessionStart { source: Some(source), ..SessionStart::default() };
        self.store.session_begin(self.generation, &new, &from).await.unwrap().unwrap()
    }

    fn workspace(&self, session: SessionId) -> PathBuf {
        self.workspace_root().join(self.org.to_string()).join(session.to_string())
    }

    /// Carries out a prompt with a worker of its own. How it ended, and what was said of it.
    async fn turn(&self, session: SessionId, text: &str) -> (CommandState, String) {
        let (command, worker) = (self.prompt(session, text).await, self.worker());
        let ended = self.finished(session, command).await;
        worker.stop().await;
        (ended.state, ended.outcome.unwrap_or_default())
    }

    fn read(&self, session: SessionId, name: &str) -> Option<String> {
        std::fs::read_to_string(self.workspace(session).join(name)).ok()
    }
}

#[tokio::test]
async fn a_session_begins_with_the_files_of_its_source_and_goes_on_from_what_it_saved() {
    let world = World::new().await;
    let (source, _) = world.source().await;
    let session = world.session_from(source).await;
    // What a turn that was lost has left.
    std::fs::create_dir_all(world.workspace(session).join("src")).unwrap();
    std::fs::write(world.workspace(session).join("src/half.py"), "half").unwrap();
    assert_eq!(world.turn(session, "note README.md changed").await.0, CommandState::Done);
    assert_eq!(world.read(session, "src/main.py").as_deref(), Some("print()"));
    assert_eq!(world.read(session, "src/half.py"), None);
    let changed = world.read(session, "README.md").unwrap();
    assert_ne!(changed, "hello");

    world.store.project_source_delete(world.org, source, "role:test").await.unwrap();
    std::fs::remove_dir_all(world.workspace_root()).unwrap();
    assert_eq!(world.turn(session, "say hi").await.0, CommandState::Done);
    assert_eq!(world.read(session, "src/main.py").as_deref(), Some("print()"));
    assert_eq!(world.read(session, "README.md"), Some(changed), "the checkpoint's, not the source's");
}

#[tokio::test]
async fn sessions_of_one_source_begin_alike() {
    let world = World::new().await;
    let (source, _) = world.source().await;
    for _ in 0..2 {
        let session = world.session_from(source).await;
        assert_eq!(world.turn(session, "say hi").await.0, CommandState::Done);
        assert_eq!(world.read(session, "README.md").as_deref(), Some("hello"));
    }
}

#[tokio::test]
async fn a_session_whose_source_can_not_be_used_says_so_and_begins_with_no_empty_folder() {
    let world = World::new().await;
    let (source, key) = world.source().await;
    let session = world.session_from(source).await;
    world.objects.delete(&key).await.unwrap();
    let (state, sentence) = world.turn(session, "say hi").await;
    assert_eq!(state, CommandState::Failed);
    assert!(sentence.contains("project source") && sentence.contains("begin another session"), "{sentence}");
    assert!(world.store.checkpoints_all(None, 10).await.unwrap().is_empty(), "an empty workspace was saved");
}

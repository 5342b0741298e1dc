//! The agent's way to tell what happens. Runs in the agent's task; the journal is at the other end.

use std::io::Read as _;
use std::path::PathBuf;

use agents::{EventSink, Publication, SinkError, Steering};
use async_trait::async_trait;
use domain::event::{Event, MessageRole, steering_message_id};
use domain::name::tidied;
use ids::{ArtifactId, CommandId};
use objects::{Blob, ObjectKeys, Objects};
use store::{BlobRow, Lease, NewArtifact};
use tokio::sync::mpsc;

/// Characters of an artifact's name.
const NAME_MAX: usize = 1_000;

/// What the agent tells.
#[derive(Debug)]
pub(crate) enum Told {
    Event(Event),
    /// An artifact, whose blob is durable.
    Artifact(NewArtifact, Event),
    /// It heard what a person said meanwhile.
    Heard(CommandId, Event),
}

#[derive(Debug)]
pub(crate) struct Sink {
    pub(crate) told: mpsc::Sender<Told>,
    pub(crate) objects: Objects,
    pub(crate) sources: clock::Sources,
    pub(crate) lease: Lease,
    pub(crate) workspace: PathBuf,
    /// Of the turn's command.
    pub(crate) ordinal: i64,
    pub(crate) attempt: i32,
}

#[async_trait]
impl EventSink for Sink {
    async fn emit(&mut self, event: Event) -> Result<(), SinkError> {
        self.tell(Told::Event(event)).await
    }

    async fn publish(&mut self, publication: Publication) -> Result<(), SinkError> {
        let artifact = self.store(publication).await?;
        let event = Event::ArtifactCreated {
            artifact_id: artifact.artifact,
            name: artifact.name.clone(),
            media_type: artifact.media_type.clone(),
            size: artifact.blob.size,
            sha256: hex::encode(&artifact.blob.sha256),
        };
        self.tell(Told::Artifact(artifact, event)).await
    }

    async fn heard(&mut self, steering: Steering) -> Result<String, SinkError> {
        let Steering { command, ordinal, text } = steering;
        let message_id = steering_message_id(ordinal, self.ordinal, self.attempt);
        let event = Event::MessageAppended { message_id, role: MessageRole::User, text: text.clone() };
        self.tell(Told::Heard(command, event)).await?;
        Ok(text)
    }
}

impl Sink {
    async fn tell(&self, told: Told) -> Result<(), SinkError> {
        self.told.send(told).await.map_err(|_| SinkError::Closed)
    }

    async fn store(&self, publication: Publication) -> Result<NewArtifact, SinkError> {
        let bytes = self.read(publication.path).await.map_err(|error| SinkError::Publish(error.into()))?;
        let artifact: ArtifactId = self.sources.id();
        let keys = ObjectKeys { org: self.lease.org, generation: self.lease.token.generation };
        let key = keys.artifact(self.lease.session, artifact);
        let blob = self.objects.put(&key, bytes.into()).await.map_err(|error| SinkError::Publish(error.into()))?;
        let name = shown(&publication.name);
        Ok(NewArtifact { artifact, name, media_type: publication.media_type, blob: blob_row(blob) })
    }

    /// A file of the workspace. A link is not followed: it may lead to what is the worker's, or another session's.
    async fn read(&self, path: PathBuf) -> std::io::Result<Vec<u8>> {
        let workspace = self.workspace.clone();
        let read = move || {
            let mut bytes = Vec::new();
            beneath::Folder::open(&workspace)?.read(&path)?.read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        tokio::task::spawn_blocking(read).await?
    }
}

/// What people see as the artifact's name. The file has the name that the agent gave it.
fn shown(name: &str) -> String {
    let name = tidied(name, NAME_MAX);
    if name.is_empty() { "unnamed".to_owned() } else { name }
}

pub(crate) fn blob_row(blob: Blob) -> BlobRow {
    let size = i64::try_from(blob.size).expect("an object is smaller");
    BlobRow { key: blob.key, size, sha256: blob.sha256.to_vec() }
}

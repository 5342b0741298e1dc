//! The agent's way to tell what happens. Runs in the agent's task; the journal is at the other end.

use agents::{EventSink, Publication, SinkError};
use async_trait::async_trait;
use domain::event::Event;
use ids::ArtifactId;
use objects::{Blob, ObjectKeys, Objects};
use store::{BlobRow, Lease, NewArtifact};
use tokio::sync::mpsc;

/// An event, and the artifact that it announces, whose blob is durable.
pub(crate) type Told = (Event, Option<NewArtifact>);

#[derive(Debug)]
pub(crate) struct Sink {
    pub(crate) told: mpsc::Sender<Told>,
    pub(crate) objects: Objects,
    pub(crate) sources: clock::Sources,
    pub(crate) lease: Lease,
}

#[async_trait]
impl EventSink for Sink {
    async fn emit(&mut self, event: Event) -> Result<(), SinkError> {
        self.told.send((event, None)).await.map_err(|_| SinkError::Closed)
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
        self.told.send((event, Some(artifact))).await.map_err(|_| SinkError::Closed)
    }
}

impl Sink {
    async fn store(&self, publication: Publication) -> Result<NewArtifact, SinkError> {
        let bytes = tokio::fs::read(&publication.path).await.map_err(|error| SinkError::Publish(error.into()))?;
        let artifact: ArtifactId = self.sources.id();
        let keys = ObjectKeys { org: self.lease.org, generation: self.lease.token.generation };
        let key = keys.artifact(self.lease.session, artifact);
        let blob = self.objects.put(&key, bytes.into()).await.map_err(|error| SinkError::Publish(error.into()))?;
        Ok(NewArtifact { artifact, name: publication.name, media_type: publication.media_type, blob: blob_row(blob) })
    }
}

pub(crate) fn blob_row(blob: Blob) -> BlobRow {
    let size = i64::try_from(blob.size).expect("an object is smaller");
    BlobRow { key: blob.key, size, sha256: blob.sha256.to_vec() }
}

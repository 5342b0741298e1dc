//! A project source that is uploaded: an archive as somebody would send it.
//!
//! Not here: the sessions that begin with it (`sessions`).

use std::io::Write as _;

use anyhow::Context as _;
use client::{Client, NewUpload};
use flate2::Compression;
use flate2::write::GzEncoder;
use ids::ProjectSourceId;
use sha2::{Digest as _, Sha256};

use crate::api::persist;

/// A file that sessions read, and its content.
pub(crate) const README: (&str, &str) = ("handbook/README.md", "# Handbook\n\nBegin here. Начните здесь.\n");
/// Beside it. The last one is a secret by its name, so no workspace gets it.
const OTHERS: [(&str, &str); 2] =
    [("handbook/plan.md", "one step after the other\n"), ("handbook/.env", "TOKEN=none\n")];

/// Uploads the archive and makes a source of it. An upload is gone when a source was made of it: if that answer gets lost, all of it
/// is done again, and the first source stays.
pub(crate) async fn upload(client: &Client) -> anyhow::Result<ProjectSourceId> {
    let archive = archive()?;
    let new = NewUpload {
        name: "handbook.tar.gz".to_owned(),
        media_type: "application/gzip".to_owned(),
        size: i64::try_from(archive.len())?,
        sha256: hex::encode(Sha256::digest(&archive)),
    };
    let made = persist(async || {
        let upload = client.upload_create_alone(&new).await?.upload_id;
        client.upload_part_put(upload, 1, archive.clone().into()).await?;
        Ok(client.project_source_create("Handbook", upload).await?.project_source_id)
    });
    made.await.context("no project source can be made of an upload")
}

fn archive() -> anyhow::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    for (path, content) in [README].into_iter().chain(OTHERS) {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, content.as_bytes())?;
    }
    let mut packed = tar.into_inner()?;
    packed.flush()?;
    Ok(packed.finish()?)
}

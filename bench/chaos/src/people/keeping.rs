//! Somebody who keeps things in order: files are sent in parts, sessions are begun, tokens are made and revoked, each of them
//! once, however often it has to be asked for.

use bytes::Bytes;
use client::{Client, Error, NewUpload};
use ids::TokenId;
use sha2::{Digest as _, Sha256};

use super::Person;
use crate::told::ToldArtifact;

/// Bytes of a file at most: a few parts.
const BYTES: u32 = 2_500_000;

/// In rounds, so that there is some of each however short a run is.
pub(super) async fn keep(person: Person) {
    while !person.leave.is_cancelled() {
        // What was refused is noted, or its answer was lost; the next one is another.
        let _ = session(&person).await;
        person.moment(200, 900).await;
        let _ = token(&person).await;
        person.moment(200, 900).await;
        let _ = file(&person).await;
        person.moment(200, 900).await;
    }
}

async fn session(person: &Person) -> Option<()> {
    let key = person.key();
    let once = person.operator.once(&key);
    let title = format!("once {key}");
    person.persist("a session", || once.session_create(&title, "scripted")).await.map(drop)
}

async fn token(person: &Person) -> Option<()> {
    let key = person.key();
    let (once, name) = (person.operator.once(&key), format!("once {key}"));
    let token = person.persist("a token", || once.token_create(&name, &["read"], None)).await?.token_id;
    person.told.record().tokens.push((token, false));
    if person.dice.below(2) == 0 {
        person.persist("a revocation", || gone(&person.operator, token)).await?;
        person.told.record().tokens.push((token, true));
    }
    Some(())
}

/// Whoever had no answer to an earlier call hears that there is nothing left to revoke.
async fn gone(operator: &Client, token: TokenId) -> Result<(), Error> {
    match operator.token_revoke(token).await {
        Err(Error::Problem(problem)) if problem.status == 404 => Ok(()),
        other => other,
    }
}

async fn file(person: &Person) -> Option<()> {
    let key = person.key();
    let size = 1 + person.dice.below(BYTES) as usize;
    let bytes = Bytes::from(key.bytes().cycle().take(size).collect::<Vec<u8>>());
    let sha256: [u8; 32] = Sha256::digest(&bytes).into();
    let new = NewUpload {
        name: format!("{key}.txt"),
        media_type: "text/plain".to_owned(),
        size: i64::try_from(size).ok()?,
        sha256: hex::encode(sha256),
    };
    let once = person.operator.once(&key);
    let upload = person.persist("an upload", || once.upload_create(person.place.files, &new)).await?;
    let part_size = usize::try_from(upload.part_size).ok()?;
    for (place, part) in bytes.chunks(part_size).enumerate() {
        let (number, part) = (i32::try_from(place + 1).ok()?, bytes.slice_ref(part));
        let call = || person.operator.upload_part_put(upload.upload_id, number, part.clone());
        person.persist("a part", call).await?;
    }
    let call = || person.operator.upload_complete(upload.upload_id);
    let artifact = person.persist("a whole upload", call).await?;
    person.told.record().artifacts.push(ToldArtifact { artifact: artifact.artifact_id, sha256, size: new.size });
    Some(())
}

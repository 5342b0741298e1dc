//! Row 6, artifact metadata: every artifact that the backup had is listed by the API and can be downloaded, byte for
//! byte.
//!
//! Not here: blobs that no artifact names (`objects`).

use std::collections::{HashMap, HashSet};

use client::Client;
use futures::StreamExt as _;
use ids::{ArtifactId, OrgId};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::Inquiry;
use crate::api;
use crate::backup::Backup;
use crate::report::Code;
use crate::said::{Heard, facts, say};

/// Downloads at the same time.
const CONCURRENCY: usize = 8;

/// A line of the probe `artifacts`.
#[derive(Debug, Clone, Deserialize)]
struct ArtifactRow {
    org_id: OrgId,
    artifact_id: ArtifactId,
    name: String,
    size: i64,
    sha256: String,
}

/// `erased` are those of people who were erased after the backup: they must not be there.
pub(crate) async fn check(inquiry: &mut Inquiry, backup: &Backup, operator: &Client, erased: &HashSet<ArtifactId>) {
    let expected = backup.probe::<ArtifactRow>("artifacts");
    let Some(mut expected) = inquiry.learn("the backup's artifacts", expected) else { return };
    expected.retain(|row| !erased.contains(&row.artifact_id));
    let mut by_org: HashMap<OrgId, Vec<&ArtifactRow>> = HashMap::new();
    for row in &expected {
        by_org.entry(row.org_id).or_default().push(row);
    }
    let mut downloaded = 0;
    for (org, rows) in by_org {
        let client = operator.in_org(org);
        judge_list(inquiry, &client, &rows).await;
        downloaded += judge_contents(inquiry, &client, &rows).await;
    }
    inquiry.record("downloads", &facts!({"expected": expected.len(), "downloaded_bytes": downloaded}));
}

async fn judge_list(inquiry: &mut Inquiry, client: &Client, expected: &[&ArtifactRow]) {
    let Some(listed) = inquiry.learn("the artifact list could not be read", api::artifacts(client).await) else {
        return;
    };
    let listed: HashMap<_, _> = listed.into_iter().map(|artifact| (artifact.artifact_id, artifact)).collect();
    for row in expected {
        let same = listed.get(&row.artifact_id).is_some_and(|artifact| {
            (&artifact.name, artifact.size, &artifact.sha256) == (&row.name, row.size, &row.sha256)
        });
        inquiry.expect(same, Code::ArtifactMetadata, || {
            say!("artifact {} is not listed as the backup had it", row.artifact_id)
        });
    }
    inquiry.expect(listed.len() == expected.len(), Code::ArtifactCount, || {
        say!("the API lists {} artifacts, the backup had {}", listed.len(), expected.len())
    });
}

/// Gives back how many bytes came.
async fn judge_contents(inquiry: &mut Inquiry, client: &Client, expected: &[&ArtifactRow]) -> u64 {
    let mut downloads = futures::stream::iter(expected)
        .map(async |row| (row, client.artifact_content(row.artifact_id).await))
        .buffer_unordered(CONCURRENCY);
    let mut bytes = 0;
    while let Some((row, content)) = downloads.next().await {
        match content {
            Ok(content) => {
                bytes += content.len() as u64;
                inquiry.expect(hex::encode(Sha256::digest(&content)) == row.sha256, Code::ArtifactContent, || {
                    say!(
                        "artifact {} downloads with {} bytes that are not the backup's",
                        row.artifact_id,
                        content.len()
                    )
                });
            }
            Err(error) => inquiry.fault(
                Code::ArtifactUnavailable,
                say!("artifact {} can't be downloaded: {}", row.artifact_id, Heard::of(error)),
            ),
        }
    }
    bytes
}

//! What was decided after the backup stands after the restore: parts of rows 4, 5, 6 and 7, which have the role that serves
//! each.
//!
//! A revoked token and those of a removed member or an erased person are refused, and the member is not listed (row 4). Nothing
//! in any table tells of the erased person, and what the API serves of the session is what its events add up to (row 5). The
//! person's files are gone, and no row names their blobs (row 6). A request that was answered is not answered again (row 7).
//!
//! Not here: deliveries (`oracle`), slots (`scheduler`), messages from outside (`gateway`).

use std::collections::HashSet;

use anyhow::Context as _;
use archive::probe;
use client::{Client, Wish};
use ids::ArtifactId;
use serde::Deserialize;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::Inquiry;
use crate::api;
use crate::backup::Backup;
use crate::fold::{Fold, differing_fields};
use crate::rehearsal::later::{Standing, Subject};
use crate::report::Code;
use crate::said::{Heard, Name, facts, say};

/// Row 4: who may still come in.
pub(crate) async fn judge_people(inquiry: &mut Inquiry, standing: &Standing, web: &str, operator: &Client) {
    let (removed, removed_token) = &standing.removed;
    let tokens = [
        ("a token that was revoked after the backup", &standing.revoked),
        ("the token of a member who was removed after the backup", removed_token),
        ("the token of a person who was erased after the backup", &standing.erased.token),
    ];
    let mut answers = Vec::new();
    for (whose, token) in tokens {
        let asked = status(Client::new(web, token.clone()).workspace().await, 200);
        let Some(status) = inquiry.learn("a token that is out of force", asked) else { continue };
        answers.push(status);
        inquiry
            .expect(status == 401, Code::TokenResurrected, || say!("{} is answered with {}, not 401", whose, status));
    }
    let home = operator.in_org(standing.org);
    let Some(members) = inquiry.learn("the list of members", api::members(&home).await) else { return };
    let listed = |account| members.iter().any(|member| member.account_id == account);
    inquiry.expect(!listed(*removed), Code::MemberResurrected, || {
        say!("the account {} was removed from its org after the backup and is a member again", removed)
    });
    let account = standing.erased.account;
    inquiry.expect(!listed(account), Code::MemberResurrected, || {
        say!("the account {} was erased after the backup and is a member again", account)
    });
    inquiry.record("standing", &facts!({"answers_to_tokens_out_of_force": answers, "members": members.len()}));
}

/// What was answered, in a number; a success is `success`. Silence is no answer.
fn status<T>(answer: Result<T, client::Error>, success: u16) -> anyhow::Result<u16> {
    match answer {
        Ok(_) => Ok(success),
        Err(error) => error.status().context("the web role did not answer"),
    }
}

/// Row 5: no table tells of the person, and the session adds up.
pub(crate) async fn judge_rows(inquiry: &mut Inquiry, subject: &Subject, database_url: &str, client: &Client) {
    let told = inquiry.learn("the search for an erased person", search(database_url, &subject.word).await);
    if let Some((searched, told)) = told {
        inquiry.record("erased-person", &facts!({"tables_searched": searched, "tables_that_tell": told}));
        inquiry.held(searched - told.len());
        for (table, rows) in told {
            let sentence = say!("{} rows of table {} tell of a person who was erased after the backup", rows, table);
            inquiry.fault(Code::SubjectResurrected, sentence);
        }
    }
    let Some(view) = inquiry.learn("the session of an erased person", client.session_get(subject.session).await) else {
        return;
    };
    let events = client.event_list(subject.session, 0, 1_000).await;
    let Some(events) = inquiry.learn("the events of an erased person", events) else { return };
    let mut fold = Fold::default();
    for event in &events.items {
        if let Err(error) = fold.apply(&event.kind, &event.payload.to_string()) {
            let (at, session) = (event.sequence, subject.session);
            inquiry.fault(
                Code::EventDamage,
                say!("event {} of session {} can't be read: {}", at, session, Heard::of(error)),
            );
        }
    }
    let expected = fold.content();
    inquiry.expect(view.projection.content == expected, Code::ProjectionContent, || {
        let fields = differing_fields(&view.projection.content, &expected);
        say!("the projection of erased session {} is not what its events add up to: {}", subject.session, fields)
    });
}

/// How many tables were searched, and those with rows in which `word` stands.
async fn search(database_url: &str, word: &str) -> anyhow::Result<(usize, Vec<(Name, i64)>)> {
    let mut connection = PgConnection::connect(database_url).await?;
    let tables: Vec<(String,)> = sqlx::query_as(TABLES).fetch_all(&mut connection).await?;
    let mut told = Vec::new();
    for (table,) in &tables {
        let sql = AssertSqlSafe(format!("SELECT count(*) FROM {table} AS one WHERE one::text LIKE '%' || $1 || '%'"));
        let rows: i64 = sqlx::query_scalar(sql).bind(word).fetch_one(&mut connection).await?;
        if rows > 0 {
            told.push((Name::catalogued(table), rows));
        }
    }
    connection.close().await?;
    Ok((tables.len(), told))
}

/// Names are quoted by the server.
const TABLES: &str = "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND n.nspname = 'public' ORDER BY 1";

/// A line of the probe `artifacts`.
#[derive(Debug, Clone, Deserialize)]
struct ArtifactRow {
    session_id: ids::SessionId,
    artifact_id: ArtifactId,
    blob_key: String,
}

/// A line of the probe `blobs`.
#[derive(Debug, Deserialize)]
struct BlobRow {
    blob_key: String,
}

/// The artifacts of the backup that an erased person's session had.
pub(crate) fn erased_artifacts(backup: &Backup, subject: &Subject) -> anyhow::Result<HashSet<ArtifactId>> {
    Ok(rows_of(backup, subject)?.into_iter().map(|row| row.artifact_id).collect())
}

fn rows_of(backup: &Backup, subject: &Subject) -> anyhow::Result<Vec<ArtifactRow>> {
    let rows = backup.probe::<ArtifactRow>("artifacts")?;
    Ok(rows.into_iter().filter(|row| row.session_id == subject.session).collect())
}

/// Row 6: the person's files are gone, and no row names their blobs.
pub(crate) async fn judge_files(
    inquiry: &mut Inquiry,
    backup: &Backup,
    subject: &Subject,
    database_url: &str,
    client: &Client,
) {
    let files = inquiry.learn("the backup's artifacts", rows_of(backup, subject)).unwrap_or_default();
    if files.is_empty() {
        return inquiry.could_not("an erased person", "the backup has no file of one");
    }
    let named = named_blobs(backup, database_url).await;
    let Some(named) = inquiry.learn("the blobs that rows name", named) else { return };
    inquiry.record("erased-files", &facts!({"files": files.len(), "blobs_named": named.len()}));
    for file in files {
        let artifact = file.artifact_id;
        let asked = status(client.artifact_content(artifact).await, 200);
        let Some(status) = inquiry.learn("an artifact of an erased person", asked) else { continue };
        inquiry.expect(status == 404, Code::SubjectResurrected, || {
            say!(
                "artifact {} of a person who was erased after the backup is answered with {}, not 404",
                artifact,
                status
            )
        });
        inquiry.expect(!named.contains(&file.blob_key), Code::SubjectResurrected, || {
            say!("a row still names the blob of artifact {}, of a person who was erased after the backup", artifact)
        });
    }
}

async fn named_blobs(backup: &Backup, database_url: &str) -> anyhow::Result<HashSet<String>> {
    let mut connection = PgConnection::connect(database_url).await?;
    let rows = probe::rows(&mut connection, backup.sql("blobs")?).await?;
    connection.close().await?;
    let blobs = rows.iter().map(|row| Ok(serde_json::from_str::<BlobRow>(row)?.blob_key));
    blobs.collect::<anyhow::Result<_>>()
}

/// Row 7: a request that somebody has spoken to is not spoken to again.
pub(crate) async fn judge_request(inquiry: &mut Inquiry, standing: &Standing, operator: &Client) {
    let (session, request_id) = standing.answered.clone();
    let wish = Wish::Approve { request_id };
    let again = operator.in_org(standing.org).command_submit(session, "drill-answered", &wish).await;
    let Some(status) = inquiry.learn("a request that was answered", status(again, 202)) else { return };
    inquiry.record("answered-request", &facts!({"status": status}));
    inquiry.expect(status == 409, Code::RequestAnsweredTwice, || {
        say!("a request of session {} that was answered after the backup can be answered again: {}", session, status)
    });
}

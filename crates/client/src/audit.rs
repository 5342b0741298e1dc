//! The org's audit trail: looked through, handed out, verified.
//!
//! Not here: comparing what was handed out with its seals. The server does that with what it has (`audit_verify`).

use bytes::Bytes;
use chrono::{DateTime, Utc};
use ids::AuditId;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Client, Error, Page, accepted};

/// Who did what to what.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AuditRecord {
    pub audit_id: AuditId,
    pub position: i64,
    pub actor: String,
    pub action: String,
    pub target: String,
    pub detail: Value,
    pub recorded_at: DateTime<Utc>,
}

/// What a record must be to be listed: all of it. Texts are compared whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AuditFilter {
    /// Such as `account:ID`, `token:ID` or `role:NAME`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Such as `session.create`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Such as `session:ID`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Recorded at this time or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
    /// Recorded before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
}

/// The form of an export.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AuditFormat {
    /// A [`SealedAuditRecord`] on each line.
    #[default]
    Jsonl,
    /// RFC 4180, with a line of names. A field that a spreadsheet would take for a formula has an apostrophe before it.
    Csv,
}

/// A record with its place in the chain: a line of an export in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SealedAuditRecord {
    /// From 1, without holes.
    pub number: i64,
    #[serde(flatten)]
    pub record: AuditRecord,
    /// Lower-case hex.
    pub hash: String,
}

/// What a verification of the audit trail saw.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AuditVerification {
    /// Whether everything that was looked at holds.
    pub intact: bool,
    /// Whether that was all, to the end. Else go on from `number` and `hash`.
    pub complete: bool,
    pub verified: i64,
    /// The last link that holds, to be noted elsewhere.
    pub number: i64,
    /// Lower-case hex.
    pub hash: String,
    pub erased: i64,
    pub unsealed: i64,
    /// `None`: it is intact.
    pub fault: Option<AuditFault>,
}

/// Where an audit trail breaks.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AuditFault {
    /// Of the first link that does not hold.
    pub number: i64,
    /// `not_found` (the link to begin at), `missing`, `changed`, `detail_changed` or `end`.
    pub kind: String,
}

impl Client {
    /// Oldest first. A page may be short, or empty, though there are more: go on until `next_cursor` is `None`.
    pub async fn audit_list(
        &self,
        filter: &AuditFilter,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Page<AuditRecord>, Error> {
        self.get_matching("/api/audit", filter, cursor, limit).await
    }

    /// The sealed records after a number, at most `limit` (1 to 1,000,000), in memory.
    pub async fn audit_export(&self, format: AuditFormat, after: i64, limit: i64) -> Result<Bytes, Error> {
        #[derive(Serialize)]
        struct Query {
            format: AuditFormat,
            after: i64,
            limit: i64,
        }
        let request = self.request(Method::GET, "/api/audit/export").query(&Query { format, after, limit });
        Ok(accepted(request).await?.bytes().await?)
    }

    /// Compares the org's audit trail with its seals, from a link that was noted (number and hash), or from the first.
    pub async fn audit_verify(&self, from: Option<(i64, &str)>) -> Result<AuditVerification, Error> {
        let query: Vec<(&str, String)> = from
            .map_or_else(Vec::new, |(number, hash)| vec![("number", number.to_string()), ("hash", hash.to_owned())]);
        self.get_with("/api/audit/verification", &query).await
    }
}

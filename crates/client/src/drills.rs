//! Drills of the installation, and what they found. All of it takes operator scope.

use chrono::{DateTime, NaiveDate, Utc};
use ids::DrillId;
use serde::Deserialize;

use crate::{Client, Error, Page};

/// A drill, as its folder tells.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Drill {
    pub drill_id: DrillId,
    pub started_at: DateTime<Utc>,
    /// `concluded`, `interrupted` or `unreadable`.
    pub state: String,
    /// Why it can't be understood.
    pub reason: Option<String>,
    /// `passed`, `failed` or `could_not_verify`, as the report says.
    pub verdict: Option<String>,
    pub finished_at: Option<DateTime<Utc>>,
    pub build: Option<String>,
    pub findings_total: Option<u64>,
    pub rto_s: Option<f64>,
    pub rpo_s: Option<f64>,
    /// Whether there is an envelope; nobody has looked into it.
    pub sealed: bool,
}

/// A drill with its rows.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct DrillDetails {
    #[serde(flatten)]
    pub drill: Drill,
    pub seal: Seal,
    pub checks: Vec<DrillCheck>,
}

/// What is known of a drill's seal.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Seal {
    /// `unsealed`, `not_checked`, `verified` or `refused`. Only the third was checked and holds.
    pub state: String,
    /// SHA-256 of the public key that it was checked with.
    pub key: Option<String>,
}

/// A row of a drill's report.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DrillCheck {
    pub id: String,
    pub verdict: String,
    pub comparisons: u64,
    pub findings_total: u64,
}

/// A finding over its life.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Finding {
    pub id: String,
    pub check: String,
    pub code: String,
    pub finding: String,
    /// `high`, `medium` or `low`.
    pub severity: String,
    pub owner: String,
    pub due_date: Option<NaiveDate>,
    /// `open`, `deferred` or `closed`.
    pub state: String,
    /// Why it was put off or closed.
    pub reason: Option<String>,
    /// The last day of its deferral, also of one that has ended.
    pub until: Option<NaiveDate>,
    pub closed_by: Option<String>,
    pub closed_at: Option<DateTime<Utc>>,
    pub first_seen: FindingSeen,
    pub last_seen: FindingSeen,
    /// The first drill since then in which its row passed. `None`: none has.
    pub gone_since: Option<FindingSeen>,
}

/// Which drill.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct FindingSeen {
    pub drill_id: String,
    pub at: DateTime<Utc>,
}

impl Client {
    /// Drills of the installation, the newest first.
    pub async fn drill_list(&self, cursor: Option<&str>, limit: u32) -> Result<Page<Drill>, Error> {
        self.get_page("/api/drills", cursor, limit).await
    }

    pub async fn drill_view(&self, drill: DrillId) -> Result<DrillDetails, Error> {
        self.get(&format!("/api/drills/{drill}")).await
    }

    /// What drills found, by id, in one state if it is given.
    pub async fn finding_list(
        &self,
        state: Option<&str>,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Page<Finding>, Error> {
        let path = state.map_or_else(|| "/api/findings".to_owned(), |state| format!("/api/findings?state={state}"));
        self.get_page(&path, cursor, limit).await
    }

    pub async fn finding_view(&self, id: &str) -> Result<Finding, Error> {
        self.get(&format!("/api/findings/{id}")).await
    }
}

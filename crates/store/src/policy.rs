//! What an org allows.
//!
//! An org always has a policy; one that nobody has set has no rules, and no row. Who decides something reads the rule where it
//! decides: a prompt in the statement that would write it down, a slot before it fires, a delivery with its claim, an
//! invitation in the transaction that would accept it.
//!
//! Not guaranteed: that nothing passes which was on its way when a rule was set. A command that was taken down is carried out, and
//! what was made at that moment may be there after it; the next look refuses it.
//!
//! Not here: the rules (`domain::policy`), what is made through the API (`web::policy`).

use clock::Timestamp;
use domain::policy::{NamePattern, NotAPattern, Policy};
use domain::version::{Expected, RowVersion};
use ids::OrgId;
use serde_json::json;
use sqlx::{PgConnection, PgExecutor};

use crate::{ChangeError, Store, StoreError, audit};

/// The policy of an org as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrgPolicy {
    pub policy: Policy,
    /// `None`: nobody has set one.
    pub updated_at: Option<Timestamp>,
    pub version: RowVersion,
}

impl Default for OrgPolicy {
    fn default() -> Self {
        let version = RowVersion { since: Timestamp::UNIX_EPOCH, version: 0 };
        Self { policy: Policy::default(), updated_at: None, version }
    }
}

struct Row {
    agents: Option<Vec<String>>,
    token_days_max: Option<i64>,
    channel_hosts: Option<Vec<String>>,
    member_domains: Option<Vec<String>>,
    created_at: Timestamp,
    updated_at: Timestamp,
    version: i64,
}

impl Row {
    fn read(self, org: OrgId) -> Result<OrgPolicy, StoreError> {
        Ok(OrgPolicy {
            policy: Policy {
                agents: self.agents,
                token_days_max: self.token_days_max,
                channel_hosts: patterns(self.channel_hosts).map_err(StoreError::unreadable(
                    "org_policies",
                    "channel_hosts",
                    org,
                ))?,
                member_domains: patterns(self.member_domains).map_err(StoreError::unreadable(
                    "org_policies",
                    "member_domains",
                    org,
                ))?,
            },
            updated_at: Some(self.updated_at),
            version: RowVersion { since: self.created_at, version: self.version },
        })
    }
}

pub(crate) fn patterns(texts: Option<Vec<String>>) -> Result<Option<Vec<NamePattern>>, NotAPattern> {
    texts.map(|texts| texts.iter().map(|text| text.parse()).collect()).transpose()
}

fn texts(patterns: Option<&Vec<NamePattern>>) -> Option<Vec<String>> {
    patterns.map(|patterns| patterns.iter().map(ToString::to_string).collect())
}

pub(crate) async fn get(connection: impl PgExecutor<'_>, org: OrgId) -> Result<OrgPolicy, StoreError> {
    let row = sqlx::query_as!(
        Row,
        "-- policy_get
        SELECT agents, token_days_max, channel_hosts, member_domains, created_at, updated_at, version
        FROM org_policies WHERE org_id = $1",
        org as OrgId,
    )
    .fetch_optional(connection)
    .await
    .map_err(StoreError::during("policy_get"))?;
    row.map_or_else(|| Ok(OrgPolicy::default()), |row| row.read(org))
}

/// Whether nothing of the org may begin with this agent.
pub(crate) async fn refuses_agent(
    connection: impl PgExecutor<'_>,
    org: OrgId,
    agent: &str,
) -> Result<bool, StoreError> {
    Ok(get(connection, org).await?.policy.judge_agent(agent).is_err())
}

impl Store {
    pub async fn policy_get(&self, org: OrgId) -> Result<OrgPolicy, StoreError> {
        get(self.of(org), org).await
    }

    /// Puts a policy in the place of the org's, if that is in the state that the change was made for. The same once more writes
    /// nothing.
    pub async fn policy_put(
        &self,
        org: OrgId,
        policy: &Policy,
        expected: &Expected,
        actor: &str,
    ) -> Result<OrgPolicy, ChangeError> {
        let during = || StoreError::during("policy_put");
        let mut tx = self.begin_of(org).await.map_err(during())?;
        lock(&mut tx, org).await.map_err(during())?;
        let found = get(&mut *tx, org).await?;
        if !expected.met_by(Some(found.version)) {
            return Err(ChangeError::Stale("policy"));
        }
        if found.policy == *policy {
            return Ok(found);
        }
        let (hosts, domains) = (texts(policy.channel_hosts.as_ref()), texts(policy.member_domains.as_ref()));
        let row = sqlx::query_as!(
            Row,
            "-- policy_put
            INSERT INTO org_policies (org_id, agents, token_days_max, channel_hosts, member_domains, created_at, updated_at)
            VALUES ($1, $2, $3, $4, $5, $6, $6)
            ON CONFLICT (org_id) DO UPDATE SET agents = excluded.agents, token_days_max = excluded.token_days_max,
                channel_hosts = excluded.channel_hosts, member_domains = excluded.member_domains,
                updated_at = excluded.updated_at, version = org_policies.version + 1
            RETURNING agents, token_days_max, channel_hosts, member_domains, created_at, updated_at, version",
            org as OrgId,
            policy.agents.as_deref(),
            policy.token_days_max,
            hosts.as_deref(),
            domains.as_deref(),
            self.sources.now(),
        )
        .fetch_one(&mut *tx)
        .await
        .map_err(during())?;
        let detail = json!({"before": found.policy, "after": policy});
        let target = format!("org:{org}");
        audit::record(&mut tx, &self.sources, org, actor, "policy.put", &target, detail).await.map_err(during())?;
        tx.commit().await.map_err(during())?;
        Ok(row.read(org)?)
    }
}

/// Two who set the policy at once come one after the other; the org's row stands for the one that is not there yet.
async fn lock(connection: &mut PgConnection, org: OrgId) -> Result<(), sqlx::Error> {
    sqlx::query!("-- policy_lock\nSELECT org_id FROM orgs WHERE org_id = $1 FOR NO KEY UPDATE", org as OrgId)
        .fetch_optional(connection)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests;

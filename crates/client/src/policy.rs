//! What the org allows.

use chrono::{DateTime, Utc};
use reqwest::Method;
use serde::{Deserialize, Serialize};

use crate::etag::{ETag, Tagged, made_for, tagged};
use crate::{Client, Error};

/// Rules of an org. `None` restricts nothing; an empty list allows nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Agents that sessions, workflows and profiles may have.
    pub agents: Option<Vec<String>>,
    /// Days that an API token may live from when it is made.
    pub token_days_max: Option<i64>,
    /// Hosts that channels may lead to; `*.example.org` is every name below `example.org`.
    pub channel_hosts: Option<Vec<String>>,
    /// Domains of the addresses of those who may become members, written as hosts are.
    pub member_domains: Option<Vec<String>>,
}

/// A policy as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct OrgPolicy {
    #[serde(flatten)]
    pub policy: Policy,
    /// `None`: nobody has set one.
    pub updated_at: Option<DateTime<Utc>>,
}

impl Client {
    /// The org's policy, with the state that a change can be made for.
    pub async fn policy_get(&self) -> Result<Tagged<OrgPolicy>, Error> {
        tagged(self.request(Method::GET, "/api/policy")).await
    }

    /// Puts a policy in the place of the org's. With `seen`, only if nobody has changed it since. Takes the permission
    /// `policy.write`.
    pub async fn policy_put(&self, policy: &Policy, seen: Option<&ETag>) -> Result<Tagged<OrgPolicy>, Error> {
        tagged(made_for(self.request(Method::PUT, "/api/policy").json(policy), seen)).await
    }
}

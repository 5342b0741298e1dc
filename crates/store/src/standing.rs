//! What credentials that were let in give now: asked for many at once, about those who stay, as readers of streams do.
//!
//! Nothing is written: to be asked about is no use of a token, and keeps no browser session from being idle.
//!
//! Not here: letting somebody in (`token`, `browser_session`), how often is asked (`web::events::readers`).

use std::collections::HashMap;

use chrono::TimeDelta;
use clock::Timestamp;
use domain::permission::Permissions;
use domain::tenancy::Scope;
use ids::{AccountId, BrowserSessionId, OrgId, TokenId};
use uuid::Uuid;

use crate::identities::Credential;
use crate::{Store, StoreError, browser_session, role, token};

/// Credentials that one statement asks for.
const ASKED: usize = 1_000;

/// What a credential in force gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// What the role of its account permits now.
    pub permissions: Permissions,
    /// What the credential was made for.
    pub scopes: Vec<Scope>,
    /// When it ends by itself. `None`: never. A browser session that is used until then ends later.
    pub ends_at: Option<Timestamp>,
}

/// By credential and the org that it belongs to.
pub type Standings = HashMap<(OrgId, Credential), Standing>;

impl Store {
    /// Of those that are in force. One that is not there was taken out of force or has ended, or its account has left
    /// the org; or its row can't be read, of which the log tells: the others are not to suffer for it.
    ///
    /// `idle`: a browser session that was not used for so long has ended.
    pub async fn credential_standings(
        &self,
        asked: &[(OrgId, Credential)],
        idle: TimeDelta,
    ) -> Result<Standings, StoreError> {
        let mut standings = Standings::new();
        for asked in asked.chunks(ASKED) {
            self.token_standings(asked, &mut standings).await?;
            self.browser_session_standings(asked, idle, &mut standings).await?;
        }
        Ok(standings)
    }

    async fn token_standings(
        &self,
        asked: &[(OrgId, Credential)],
        standings: &mut Standings,
    ) -> Result<(), StoreError> {
        let asked = asked.iter().filter_map(|(org, credential)| match credential {
            Credential::Token(token) => Some((Uuid::from(*org), Uuid::from(*token))),
            Credential::BrowserSession(_) => None,
        });
        let (orgs, tokens): (Vec<Uuid>, Vec<Uuid>) = asked.unzip();
        if tokens.is_empty() {
            return Ok(());
        }
        let rows = sqlx::query!(
            r#"-- token_standings
            SELECT api_tokens.org_id AS "org!: OrgId", api_tokens.token_id AS "token!: TokenId",
                api_tokens.account_id AS "account!: AccountId", role AS "role!", scopes AS "scopes!",
                expires_at AS "expires_at?", roles.permissions AS "permissions?"
            FROM unnest($1::uuid[], $2::uuid[]) AS asked (org_id, token_id)
                JOIN api_tokens ON api_tokens.org_id = asked.org_id AND api_tokens.token_id = asked.token_id
                JOIN memberships ON memberships.org_id = api_tokens.org_id
                    AND memberships.account_id = api_tokens.account_id
                LEFT JOIN roles ON roles.org_id = memberships.org_id AND roles.name = memberships.role
            WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $3)"#,
            &orgs,
            &tokens,
            self.sources.now(),
        )
        .fetch_all(self.everywhere())
        .await
        .map_err(StoreError::during("token_standings"))?;
        for row in rows {
            let permitted = role::of_member(row.account, &row.role, row.permissions);
            let read = permitted.and_then(|(_, permissions)| {
                let scopes = token::scopes(row.token, &row.scopes)?;
                Ok(Standing { permissions, scopes, ends_at: row.expires_at })
            });
            add(standings, (row.org, Credential::Token(row.token)), read);
        }
        Ok(())
    }

    async fn browser_session_standings(
        &self,
        asked: &[(OrgId, Credential)],
        idle: TimeDelta,
        standings: &mut Standings,
    ) -> Result<(), StoreError> {
        let asked = asked.iter().filter_map(|(org, credential)| match credential {
            Credential::BrowserSession(session) => Some((Uuid::from(*org), Uuid::from(*session))),
            Credential::Token(_) => None,
        });
        let (orgs, sessions): (Vec<Uuid>, Vec<Uuid>) = asked.unzip();
        if sessions.is_empty() {
            return Ok(());
        }
        let now = self.sources.now();
        let rows = sqlx::query!(
            r#"-- browser_session_standings
            SELECT session.org_id AS "org!: OrgId", session.browser_session_id AS "session!: BrowserSessionId",
                session.account_id AS "account!: AccountId", role AS "role!", expires_at AS "expires_at!",
                session.last_used_at AS "last_used_at!", roles.permissions AS "permissions?"
            FROM unnest($1::uuid[], $2::uuid[]) AS asked (org_id, browser_session_id)
                JOIN browser_sessions AS session ON session.org_id = asked.org_id
                    AND session.browser_session_id = asked.browser_session_id
                JOIN memberships ON memberships.org_id = session.org_id AND memberships.account_id = session.account_id
                LEFT JOIN roles ON roles.org_id = memberships.org_id AND roles.name = memberships.role
            WHERE revoked_at IS NULL AND expires_at > $3 AND session.last_used_at > $4"#,
            &orgs,
            &sessions,
            now,
            now - idle,
        )
        .fetch_all(self.everywhere())
        .await
        .map_err(StoreError::during("browser_session_standings"))?;
        for row in rows {
            let permitted = role::of_member(row.account, &row.role, row.permissions);
            let ends_at = Some(row.expires_at.min(row.last_used_at + idle));
            let scopes = browser_session::SCOPES.to_vec();
            let read = permitted.map(|(_, permissions)| Standing { permissions, scopes, ends_at });
            add(standings, (row.org, Credential::BrowserSession(row.session)), read);
        }
        Ok(())
    }
}

fn add(standings: &mut Standings, whom: (OrgId, Credential), read: Result<Standing, StoreError>) {
    match read {
        Ok(standing) => drop(standings.insert(whom, standing)),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "what a credential permits can't be read");
        }
    }
}

#[cfg(test)]
mod tests;

//! When tokens were last used: noted in memory, and written from time to time, so that no request writes it.
//!
//! One statement writes what all requests of a process noted, at most once in [`TOUCHED_EVERY`], and once more when
//! the process stops in order. It moves a last use forwards only, so several processes may write the same token. It
//! waits for nobody: a row that somebody else is changing is left for the next time. It changes nothing else, and
//! whether a token is in force does not depend on it: it is for people, who look which tokens are still needed.
//!
//! Not promised: that a use is told before a minute has passed; that it is told at all if the process is killed before,
//! or if more than [`NOTED`] tokens are used within a minute. Who revokes a token at the same moment may wait for the
//! statement.
//!
//! Not here: when it is written (the binary), last uses of browser sessions, which their requests write
//! (`browser_session`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::TimeDelta;
use clock::Timestamp;
use ids::{OrgId, TokenId};

use crate::identities::{Credential, Identity, TOUCHED_EVERY};
use crate::{Store, StoreError};

/// Tokens whose use is noted until it is written. Of further ones it is not.
const NOTED: usize = 10_000;

/// A token, and when it was used.
type Use = ((OrgId, TokenId), Timestamp);

/// What this process noted. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Uses(Arc<Mutex<Noted>>);

#[derive(Debug, Default)]
struct Noted {
    /// The last use of each.
    uses: HashMap<(OrgId, TokenId), Timestamp>,
    /// When they were last taken to be written. `None`: never.
    taken_at: Option<Timestamp>,
}

impl Uses {
    /// `identity` showed its credential.
    pub(crate) fn note(&self, identity: &Identity, now: Timestamp) {
        if let Credential::Token(token) = identity.credential {
            self.noted().note((identity.org, token), now);
        }
    }

    /// What is to be written now: nothing for `pause` after the last time that there was something.
    fn take(&self, now: Timestamp, pause: TimeDelta) -> HashMap<(OrgId, TokenId), Timestamp> {
        let mut noted = self.noted();
        let early = noted.taken_at.is_some_and(|taken_at| (taken_at..taken_at + pause).contains(&now));
        if early || noted.uses.is_empty() {
            return HashMap::new();
        }
        noted.taken_at = Some(now);
        std::mem::take(&mut noted.uses)
    }

    /// What was not written is noted again, unless something later was noted meanwhile.
    fn put_back(&self, uses: impl IntoIterator<Item = Use>) {
        let mut noted = self.noted();
        uses.into_iter().for_each(|(token, at)| noted.note(token, at));
    }

    /// Nothing is left half done under this lock.
    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Noted {
    fn note(&mut self, token: (OrgId, TokenId), at: Timestamp) {
        if let Some(known) = self.uses.get_mut(&token) {
            *known = at.max(*known);
        } else if self.uses.len() < NOTED {
            self.uses.insert(token, at);
        }
    }
}

impl Store {
    /// Writes when tokens were last used, as far as it is new, unless this process did so less than a minute ago. To be
    /// called every few seconds.
    pub async fn token_uses_write(&self) -> Result<(), StoreError> {
        self.token_uses_settle(self.uses.take(self.sources.now(), TOUCHED_EVERY)).await
    }

    /// As [`Self::token_uses_write`], however long ago that was: for a process that stops.
    pub async fn token_uses_flush(&self) -> Result<(), StoreError> {
        self.token_uses_settle(self.uses.take(self.sources.now(), TimeDelta::zero())).await
    }

    async fn token_uses_settle(&self, uses: HashMap<(OrgId, TokenId), Timestamp>) -> Result<(), StoreError> {
        if uses.is_empty() {
            return Ok(());
        }
        match self.token_touch(&uses).await {
            Ok(left_out) => {
                self.uses.put_back(left_out);
                Ok(())
            }
            Err(error) => {
                self.uses.put_back(uses);
                Err(error)
            }
        }
    }

    /// Locks rows in the order of their ids, so that two processes can't lock each other out, and none for which it
    /// would have to wait: those it gives back. Of tokens of people who were erased nothing is written.
    async fn token_touch(&self, uses: &HashMap<(OrgId, TokenId), Timestamp>) -> Result<Vec<Use>, StoreError> {
        let orgs: Vec<uuid::Uuid> = uses.keys().map(|(org, _)| (*org).into()).collect();
        let tokens: Vec<uuid::Uuid> = uses.keys().map(|(_, token)| (*token).into()).collect();
        let used_at: Vec<Timestamp> = uses.values().copied().collect();
        let left_out = sqlx::query!(
            r#"-- token_touch
            WITH noted AS (
                SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) AS noted (org_id, token_id, used_at)
            ), free AS (
                SELECT org_id, token_id, used_at FROM noted JOIN api_tokens USING (org_id, token_id)
                WHERE (last_used_at IS NULL OR last_used_at < used_at) AND last_four <> ''
                ORDER BY org_id, token_id
                FOR NO KEY UPDATE OF api_tokens SKIP LOCKED
            ), touched AS (
                UPDATE api_tokens SET last_used_at = free.used_at FROM free
                WHERE api_tokens.org_id = free.org_id AND api_tokens.token_id = free.token_id
            )
            SELECT noted.org_id AS "org!: OrgId", noted.token_id AS "token!: TokenId", used_at AS "used_at!"
            FROM noted JOIN api_tokens ON api_tokens.org_id = noted.org_id AND api_tokens.token_id = noted.token_id
            WHERE (last_used_at IS NULL OR last_used_at < used_at) AND last_four <> ''
                AND NOT EXISTS (
                    SELECT FROM free WHERE free.org_id = noted.org_id AND free.token_id = noted.token_id)"#,
            &orgs,
            &tokens,
            &used_at,
        )
        .fetch_all(self.everywhere())
        .await
        .map_err(StoreError::during("token_touch"))?;
        Ok(left_out.into_iter().map(|row| ((row.org, row.token), row.used_at)).collect())
    }
}

#[cfg(test)]
mod tests;

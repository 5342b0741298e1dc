//! Whom tokens and browser sessions stand for, remembered for a few seconds, so that not every request asks.
//!
//! What is remembered counts only while this process hears the others: whoever takes a token out of force, or changes what
//! an account may do, tells all processes, and each forgets everybody. The process that does it forgets before it answers.
//!
//! Not promised: that a process whose hearing broke without anybody noticing forgets at once. [`REMEMBERED`] bounds that.
//!
//! Not here: reading the row (`token`, `browser_session`), carrying the word (`wake`), when tokens were last used
//! (`token::uses`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::TimeDelta;
use clock::Timestamp;
use domain::permission::Permissions;
use domain::tenancy::{RoleName, Scope};
use ids::{AccountId, BrowserSessionId, OrgId, TokenId};

/// How old the `last_used_at` of a credential that is in use grows.
pub(crate) const TOUCHED_EVERY: TimeDelta = TimeDelta::seconds(60);
/// How long an identity counts, at most.
const REMEMBERED: TimeDelta = TimeDelta::seconds(5);
/// Identities that are kept; with more, all are forgotten.
const KEPT: usize = 10_000;

/// What somebody showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Credential {
    Token(TokenId),
    BrowserSession(BrowserSessionId),
}

/// Whom a credential in force stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub org: OrgId,
    pub credential: Credential,
    pub account: AccountId,
    /// What the account is in `org` now.
    pub role: RoleName,
    /// What that permits now.
    pub permissions: Permissions,
    /// What the credential was made for.
    pub scopes: Vec<Scope>,
}

/// Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Identities(Arc<Mutex<HashMap<[u8; 32], Remembered>>>);

#[derive(Debug)]
struct Remembered {
    identity: Identity,
    /// It counts before this.
    until: Timestamp,
    /// Changes that were heard of before it was read.
    changes: u64,
}

impl Identities {
    /// `changes`: how many changes were heard of until now.
    pub(crate) fn get(&self, hash: &[u8; 32], now: Timestamp, changes: u64) -> Option<Identity> {
        let known = self.known();
        let found = known.get(hash).filter(|found| found.changes == changes && now < found.until);
        found.map(|found| found.identity.clone())
    }

    /// `changes`: how many were heard of before it was read from the database; `expires_at`: of the credential itself.
    pub(crate) fn keep(
        &self,
        hash: [u8; 32],
        identity: Identity,
        expires_at: Option<Timestamp>,
        now: Timestamp,
        changes: u64,
    ) {
        let until = expires_at.map_or(now + REMEMBERED, |expires_at| expires_at.min(now + REMEMBERED));
        let mut known = self.known();
        if known.len() >= KEPT {
            known.clear();
        }
        known.insert(hash, Remembered { identity, until, changes });
    }

    /// Nothing is left half done under this lock.
    fn known(&self) -> MutexGuard<'_, HashMap<[u8; 32], Remembered>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use domain::tenancy::Role;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn an_identity_counts_until_it_is_old_or_expires_or_anything_changed() {
        let id = Uuid::nil();
        let identity = Identity {
            org: id.into(),
            credential: Credential::Token(id.into()),
            account: id.into(),
            role: Role::Member.into(),
            permissions: Role::Member.permissions(),
            scopes: Vec::new(),
        };
        let (identities, now) = (Identities::default(), Timestamp::UNIX_EPOCH);
        identities.keep([1; 32], identity.clone(), None, now, 7);
        assert_eq!(identities.get(&[1; 32], now, 7), Some(identity.clone()));
        assert_eq!(identities.get(&[1; 32], now + REMEMBERED, 7), None);
        assert_eq!(identities.get(&[1; 32], now, 8), None, "somebody was revoked, perhaps this one");
        assert_eq!(identities.get(&[2; 32], now, 7), None);
        identities.keep([1; 32], identity, Some(now + TimeDelta::seconds(1)), now, 7);
        assert_eq!(identities.get(&[1; 32], now + TimeDelta::seconds(1), 7), None);
    }
}

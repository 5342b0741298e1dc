//! Subjects: people who are to be forgotten.

use ids::AccountId;
use reqwest::Method;
use serde::Deserialize;

use crate::{Client, Error, answer};

/// How far an erasure is.
#[derive(Debug, Clone, Deserialize)]
pub struct Erasure {
    pub account_id: AccountId,
    /// `erasing` or `erased`.
    pub state: String,
    pub sessions: i64,
}

impl Client {
    /// Takes an owner of the org, or operator scope. Asking again changes nothing.
    pub async fn subject_erase(&self, account: AccountId) -> Result<Erasure, Error> {
        answer(self.request(Method::DELETE, &format!("/api/subjects/{account}"))).await
    }

    pub async fn subject_erasure(&self, account: AccountId) -> Result<Erasure, Error> {
        self.get(&format!("/api/subjects/{account}")).await
    }
}

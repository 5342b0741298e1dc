//! Requests that came with an `Idempotency-Key`: whether one was carried out, and what it was answered.
//!
//! A request is *running* until its effect commits. The transaction of the effect says so itself: it marks the key
//! as *carried out*, and compares the attempt that it belongs to ([`mark`]). So a request whose process died has either no
//! effect, and another attempt carries it out, or it has its effect, and no other attempt ever does. What can be lost is the
//! answer, between the effect and its record, and whoever asks again is told that.
//!
//! Not here: what a request is and what of an answer is kept (`web::idempotency`). Commands have keys of their own, for as
//! long as they exist (`command`).

use chrono::TimeDelta;
use clock::Timestamp;
use ids::{AccountId, OrgId};
use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{Store, StoreError, audit};

/// How long a key is remembered.
pub const IDEMPOTENCY_KEPT: TimeDelta = TimeDelta::hours(24);
/// How long an attempt counts as alive. Far longer than any request takes; one that takes longer finds its key with
/// another attempt and has no effect.
const HELD: TimeDelta = TimeDelta::seconds(60);
/// Rows that one statement deletes.
const SWEEP: i64 = 1_000;

tokio::task_local! {
    /// The attempt that this task is part of. Implicit, because it must reach every transaction with an effect, through every
    /// handler and method, and none of them may forget it.
    static CURRENT: Attempt;
}

/// The right to carry a request out, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    pub org: OrgId,
    pub account: AccountId,
    pub key: String,
    attempt_id: Uuid,
}

/// What to do with a request that has a key.
#[derive(Debug, PartialEq, Eq)]
pub enum Begun {
    /// Carry it out.
    New(Attempt),
    /// It was answered already, like this.
    Answered(SealedAnswer),
    /// Somebody is at it.
    InProgress,
    /// It was carried out, and its answer is lost.
    AnswerLost,
    /// The key stands for another request.
    OtherRequest,
}

/// An answer as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedAnswer {
    pub status: u16,
    pub ciphertext: Vec<u8>,
    pub wrapped_key: Vec<u8>,
    pub key_version: String,
}

/// An answer with its row, for whoever checks that it opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptAnswer {
    pub org: OrgId,
    pub account: AccountId,
    pub key: String,
    pub answer: SealedAnswer,
}

impl KeptAnswer {
    #[must_use]
    pub fn aad(&self) -> Vec<u8> {
        aad(self.org, self.account, &self.key)
    }
}

impl Attempt {
    /// Binds the sealed answer to its row.
    #[must_use]
    pub fn aad(&self) -> Vec<u8> {
        aad(self.org, self.account, &self.key)
    }

    /// Runs `request` as this attempt: what it commits counts as carried out.
    pub async fn carry_out<F: Future>(self, request: F) -> F::Output {
        CURRENT.scope(self, request).await
    }
}

/// Associated data of a sealed answer.
#[must_use]
pub fn aad(org: OrgId, account: AccountId, key: &str) -> Vec<u8> {
    format!("idempotency_keys/{org}/{account}/{key}").into_bytes()
}

/// Says, in the transaction of an effect, that the current request has it. Fails if the request is another attempt's by
/// now, so that the transaction fails, too.
pub(crate) async fn mark(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let Ok(attempt) = CURRENT.try_with(Clone::clone) else { return Ok(()) };
    let done = sqlx::query!(
        "-- idempotency_mark
        UPDATE idempotency_keys SET state = 'carried_out'
        WHERE org_id = $1 AND account_id = $2 AND key = $3 AND attempt_id = $4 AND state <> 'answered'",
        attempt.org as OrgId,
        attempt.account as AccountId,
        attempt.key,
        attempt.attempt_id,
    )
    .execute(connection)
    .await?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(sqlx::Error::Protocol(OVERTAKEN.into())) }
}

const OVERTAKEN: &str = "the request took too long: its Idempotency-Key is held by a later attempt";

struct Row {
    same: bool,
    state: String,
    alive: bool,
    status: Option<i32>,
    ciphertext: Option<Vec<u8>>,
    wrapped_key: Option<Vec<u8>>,
    key_version: Option<String>,
}

impl Row {
    fn read(self) -> Begun {
        if !self.same {
            return Begun::OtherRequest;
        }
        let answer = || {
            let status = u16::try_from(self.status?).ok()?;
            let (ciphertext, wrapped_key) = (self.ciphertext?, self.wrapped_key?);
            Some(SealedAnswer { status, ciphertext, wrapped_key, key_version: self.key_version? })
        };
        match (self.state.as_str(), self.alive) {
            ("answered", _) => answer().map_or(Begun::AnswerLost, Begun::Answered),
            // A dead attempt that is still running was just taken over, by somebody else who asked at the same time.
            ("running", _) | (_, true) => Begun::InProgress,
            _ => Begun::AnswerLost,
        }
    }
}

impl Store {
    /// Takes the key for a new attempt, unless the request was carried out or is being carried out.
    pub async fn idempotency_begin(
        &self,
        org: OrgId,
        account: AccountId,
        key: &str,
        request_digest: &[u8; 32],
    ) -> Result<Begun, StoreError> {
        let during = || StoreError::during("idempotency_begin");
        let (attempt_id, now) = (self.sources.id::<Uuid>(), self.sources.now());
        let taken = sqlx::query!(
            "-- idempotency_begin
            INSERT INTO idempotency_keys AS known
                (org_id, account_id, key, request_digest, attempt_id, state, held_until, expires_at)
            VALUES ($1, $2, $3, $4, $5, 'running', $6, $7)
            ON CONFLICT (org_id, account_id, key) DO UPDATE SET request_digest = excluded.request_digest,
                attempt_id = excluded.attempt_id, state = 'running', held_until = excluded.held_until,
                expires_at = excluded.expires_at, status = NULL, ciphertext = NULL, wrapped_key = NULL, key_version = NULL
            WHERE known.expires_at <= $8 OR (known.state = 'running' AND known.held_until <= $8
                AND known.request_digest = excluded.request_digest)",
            org as OrgId,
            account as AccountId,
            key,
            &request_digest[..],
            attempt_id,
            now + HELD,
            now + IDEMPOTENCY_KEPT,
            now,
        )
        .execute(self.of(org))
        .await
        .map_err(during())?;
        if taken.rows_affected() == 1 {
            return Ok(Begun::New(Attempt { org, account, key: key.to_owned(), attempt_id }));
        }
        // Given up in this moment: whoever asks once more takes it.
        Ok(self.idempotency_known(org, account, key, request_digest, now).await?.map_or(Begun::InProgress, Row::read))
    }

    async fn idempotency_known(
        &self,
        org: OrgId,
        account: AccountId,
        key: &str,
        request_digest: &[u8; 32],
        now: Timestamp,
    ) -> Result<Option<Row>, StoreError> {
        sqlx::query_as!(
            Row,
            r#"-- idempotency_known
            SELECT request_digest = $4 AS "same!", state, held_until > $5 AS "alive!", status, ciphertext, wrapped_key,
                key_version
            FROM idempotency_keys WHERE org_id = $1 AND account_id = $2 AND key = $3"#,
            org as OrgId,
            account as AccountId,
            key,
            &request_digest[..],
            now,
        )
        .fetch_optional(self.of(org))
        .await
        .map_err(StoreError::during("idempotency_known"))
    }

    /// Keeps the answer for whoever asks again. Of an attempt that was overtaken nothing is kept.
    pub async fn idempotency_answer(&self, attempt: &Attempt, answer: &SealedAnswer) -> Result<(), StoreError> {
        sqlx::query!(
            "-- idempotency_answer
            UPDATE idempotency_keys SET state = 'answered', status = $5, ciphertext = $6, wrapped_key = $7, key_version = $8
            WHERE org_id = $1 AND account_id = $2 AND key = $3 AND attempt_id = $4",
            attempt.org as OrgId,
            attempt.account as AccountId,
            attempt.key,
            attempt.attempt_id,
            i32::from(answer.status),
            answer.ciphertext,
            answer.wrapped_key,
            answer.key_version,
        )
        .execute(self.of(attempt.org))
        .await
        .map_err(StoreError::during("idempotency_answer"))?;
        Ok(())
    }

    /// Tells the audit trail that an answer of the account is given again, to `actor`; `request` is the method and route of
    /// what was asked. For whoever gives it to call before.
    pub async fn idempotency_replay(
        &self,
        org: OrgId,
        account: AccountId,
        request: &str,
        actor: &str,
    ) -> Result<(), StoreError> {
        let during = || StoreError::during("idempotency_replay");
        let mut tx = self.begin_of(org).await.map_err(during())?;
        let (target, detail) = (format!("account:{account}"), json!({ "request": request }));
        audit::record(&mut tx, &self.sources, org, actor, "idempotency_key.replay", &target, detail)
            .await
            .map_err(during())?;
        tx.commit().await.map_err(during())
    }

    /// Gives the key of an attempt back that had no effect: the request may be corrected or repeated. `false`: it had one.
    pub async fn idempotency_release(&self, attempt: &Attempt) -> Result<bool, StoreError> {
        // Waits for a transaction that has marked the row and whose end is not known yet.
        let done = sqlx::query!(
            "-- idempotency_release
            DELETE FROM idempotency_keys
            WHERE org_id = $1 AND account_id = $2 AND key = $3 AND attempt_id = $4 AND state = 'running'",
            attempt.org as OrgId,
            attempt.account as AccountId,
            attempt.key,
            attempt.attempt_id,
        )
        .execute(self.of(attempt.org))
        .await
        .map_err(StoreError::during("idempotency_release"))?;
        Ok(done.rows_affected() == 1)
    }

    /// Gives the key of an attempt back, whether or not it had an effect: to make the request again is the only way to a better
    /// answer, and whoever made it was told to.
    pub async fn idempotency_free(&self, attempt: &Attempt) -> Result<(), StoreError> {
        sqlx::query!(
            "-- idempotency_free
            DELETE FROM idempotency_keys
            WHERE org_id = $1 AND account_id = $2 AND key = $3 AND attempt_id = $4",
            attempt.org as OrgId,
            attempt.account as AccountId,
            attempt.key,
            attempt.attempt_id,
        )
        .execute(self.of(attempt.org))
        .await
        .map_err(StoreError::during("idempotency_free"))?;
        Ok(())
    }

    /// Forgets keys that are older than [`IDEMPOTENCY_KEPT`], some of them. How many.
    pub async fn idempotency_sweep(&self) -> Result<u64, StoreError> {
        let done = sqlx::query!(
            "-- idempotency_sweep
            DELETE FROM idempotency_keys WHERE (org_id, account_id, key) IN (
                SELECT org_id, account_id, key FROM idempotency_keys WHERE expires_at <= $1
                ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
            )",
            self.sources.now(),
            SWEEP,
        )
        .execute(self.everywhere())
        .await
        .map_err(StoreError::during("idempotency_sweep"))?;
        Ok(done.rows_affected())
    }

    /// Answers of the whole installation, after one that was seen.
    pub async fn idempotency_answers(
        &self,
        after: Option<&KeptAnswer>,
        limit: i64,
    ) -> Result<Vec<KeptAnswer>, StoreError> {
        let nil = Uuid::nil();
        let (org, account, key) =
            after.map_or((nil, nil, ""), |after| (after.org.into(), after.account.into(), after.key.as_str()));
        let rows = sqlx::query!(
            r#"-- idempotency_answers
            SELECT org_id AS "org: OrgId", account_id AS "account: AccountId", key, status AS "status!",
                ciphertext AS "ciphertext!", wrapped_key AS "wrapped_key!", key_version AS "key_version!"
            FROM idempotency_keys WHERE state = 'answered' AND (org_id, account_id, key) > ($1, $2, $3)
            ORDER BY org_id, account_id, key LIMIT $4"#,
            org,
            account,
            key,
            limit,
        )
        .fetch_all(self.everywhere())
        .await
        .map_err(StoreError::during("idempotency_answers"))?;
        let kept = rows.into_iter().map(|row| KeptAnswer {
            org: row.org,
            account: row.account,
            key: row.key,
            answer: SealedAnswer {
                status: row.status.try_into().unwrap_or(500),
                ciphertext: row.ciphertext,
                wrapped_key: row.wrapped_key,
                key_version: row.key_version,
            },
        });
        Ok(kept.collect())
    }
}

#[cfg(test)]
mod tests;

//! Taking commands down: from whoever is connected, each with an idempotency key.
//!
//! One that waits for its turn, whatever its session is at, shares a statement with those that come at the same time. A prompt for
//! which it matters whether the session is at work has a statement of its own, and what a person is remembered for a transaction.
//! Each tells the audit trail of what it took down.
//!
//! Not here: commands that are part of something larger, such as a run ([`super::enqueue`]).

use clock::Sources;
use domain::command::{WhileRunning, Wish};
use domain::quota::{QuotaOrigin, QuotaPeriod, UsageKind};
use ids::{AccountId, AuditId, CommandId, OrgId, SessionId};
use serde_json::json;
use uuid::Uuid;

use super::{EnqueueError, Enqueued, NewCommand, enqueue, state, taken_by_an_archived_session, telling};
use crate::batcher::{Answered, Ask, Locked};
use crate::event::by_place;
use crate::outbox::{self, Effect};
use crate::quota::{OF_TURNS as QUOTAS_OF_TURNS, UsedUp};
use crate::wake::Wake;
use crate::{Store, StoreError, remembered};

/// A command that waits for its turn, to be taken down.
#[derive(Debug)]
pub(crate) struct Taking {
    session: SessionId,
    command: CommandId,
    kind: &'static str,
    payload: String,
    idempotency_key: String,
    created_by: Option<AccountId>,
    traceparent: Option<String>,
    while_running: Option<&'static str>,
    speaks: bool,
    though_archived: bool,
    audit: AuditId,
    actor: String,
}

/// The command that stands for a wish, and whether it is of the same wish.
#[derive(Debug)]
pub(crate) struct Taken {
    command: CommandId,
    ordinal: i64,
    state: String,
    created: bool,
    same: bool,
}

impl Taking {
    fn new(new: &NewCommand, sources: &Sources, while_running: WhileRunning) -> Self {
        Self {
            session: new.session,
            command: sources.id(),
            kind: new.wish.kind(),
            payload: payload(&new.wish).to_string(),
            idempotency_key: new.idempotency_key.clone(),
            created_by: new.created_by,
            traceparent: traces::carried(),
            while_running: while_running.column(),
            speaks: new.wish.speaks_to_a_waiting_turn(),
            though_archived: taken_by_an_archived_session(&new.wish),
            audit: sources.id(),
            actor: telling::actor(new.created_by),
        }
    }
}

fn payload(wish: &Wish) -> serde_json::Value {
    serde_json::to_value(wish).expect("a wish is plain data")["payload"].take()
}

impl Ask for Taking {
    /// `None`: it was not taken down, and nobody had taken it down before.
    type Done = Option<Taken>;

    const STATEMENT: &'static str = "command_take";

    fn bytes(&self) -> usize {
        self.payload.len()
    }

    /// The statement counts a session's commands by one.
    fn apart(&self) -> Option<SessionId> {
        Some(self.session)
    }

    async fn carry_out(
        store: &Store,
        org: OrgId,
        asked: &[Self],
        locked: Locked,
    ) -> Result<Vec<Answered<Self::Done>>, sqlx::Error> {
        let now = store.sources().now();
        let rows = sqlx::query_file!(
            "src/command/take.sql",
            org as OrgId,
            &asked.iter().map(|new| new.session.into()).collect::<Vec<Uuid>>(),
            &asked.iter().map(|new| new.command.into()).collect::<Vec<Uuid>>(),
            &asked.iter().map(|new| new.kind).collect::<Vec<_>>() as &[&str],
            &asked.iter().map(|new| &new.payload[..]).collect::<Vec<_>>() as &[&str],
            &asked.iter().map(|new| &new.idempotency_key[..]).collect::<Vec<_>>() as &[&str],
            &asked.iter().map(|new| new.created_by.map(Uuid::from)).collect::<Vec<_>>() as &[Option<Uuid>],
            &asked.iter().map(|new| new.traceparent.as_deref()).collect::<Vec<_>>() as &[Option<&str>],
            &asked.iter().map(|new| new.while_running).collect::<Vec<_>>() as &[Option<&str>],
            &asked.iter().map(|new| new.speaks).collect::<Vec<_>>(),
            &asked.iter().map(|new| new.though_archived).collect::<Vec<_>>(),
            &asked.iter().map(|new| new.kind == "prompt").collect::<Vec<_>>(),
            now,
            now.date_naive(),
            locked == Locked::WaitFor,
            &asked.iter().map(|new| new.audit.into()).collect::<Vec<Uuid>>(),
            &asked.iter().map(|new| &new.actor[..]).collect::<Vec<_>>() as &[&str],
        )
        .fetch_all(store.of(org))
        .await?;
        let answers = rows.into_iter().map(|row| {
            let taken = match (row.command_id, row.ordinal, row.state) {
                (Some(command), Some(ordinal), Some(state)) => {
                    Some(Taken { command, ordinal, state, created: row.created, same: row.same })
                }
                _ => None,
            };
            let left_out = taken.is_none() && !row.locked && locked == Locked::LeaveOut;
            (row.place, if left_out { Answered::LeftOut } else { Answered::Done(taken) })
        });
        Ok(by_place(answers))
    }
}

impl Store {
    /// Writes a command down, once per idempotency key, and tells the audit trail of it.
    pub async fn command_enqueue(&self, new: &NewCommand) -> Result<Enqueued, EnqueueError> {
        self.command_speak(new, WhileRunning::Queue, None).await
    }

    /// As [`Self::command_enqueue`]; `while_running` is of prompts, and `interaction` is what the recovery ledger calls the request
    /// that the wish speaks to.
    pub async fn command_speak(
        &self,
        new: &NewCommand,
        while_running: WhileRunning,
        interaction: Option<[u8; 32]>,
    ) -> Result<Enqueued, EnqueueError> {
        let enqueued = if interaction.is_some() || telling::request(&new.wish).is_some() {
            self.enqueue_with_effects(new, interaction).await?
        } else {
            self.take(new, while_running).await?
        };
        self.wakes.tell(Wake::Work);
        let speaks_to_a_turn = matches!(while_running, WhileRunning::Interrupt | WhileRunning::Steer);
        if matches!(new.wish, Wish::Abort {}) || speaks_to_a_turn {
            self.wakes.tell(Wake::Abort);
        }
        Ok(enqueued)
    }

    async fn enqueue_with_effects(
        &self,
        new: &NewCommand,
        interaction: Option<[u8; 32]>,
    ) -> Result<Enqueued, EnqueueError> {
        let mut tx = self.begin_of(new.org).await?;
        let enqueued = enqueue(&mut tx, &self.sources, new).await?;
        if let (true, Some(interaction)) = (enqueued.created, interaction) {
            if remembered::interaction(&mut tx, new.org, &interaction).await? {
                return Err(EnqueueError::SpokenTo);
            }
            let effect = Effect::InteractionUsed { org: new.org, interaction };
            outbox::insert(&mut tx, &self.sources, &[effect]).await?;
        }
        if enqueued.created {
            telling::record(&mut tx, &self.sources, new, enqueued.command, json!({})).await?;
        }
        tx.commit().await?;
        Ok(enqueued)
    }

    /// In one statement.
    async fn take(&self, new: &NewCommand, while_running: WhileRunning) -> Result<Enqueued, EnqueueError> {
        match self.take_once(new, while_running).await {
            // Somebody wrote the same key at the same time, and is through.
            Err(EnqueueError::Database(sqlx::Error::Database(error))) if error.is_unique_violation() => {
                self.take_once(new, while_running).await
            }
            // Its own first one may have been written before somebody archived the session, or the quota was used up, or the
            // agent was refused, or be what the session is at work on.
            Err(
                EnqueueError::Archived | EnqueueError::OverQuota(_) | EnqueueError::AgentRefused | EnqueueError::Busy,
            ) => self.take_once(new, while_running).await,
            enqueued => enqueued,
        }
    }

    async fn take_once(&self, new: &NewCommand, while_running: WhileRunning) -> Result<Enqueued, EnqueueError> {
        let taken = match while_running {
            WhileRunning::Queue | WhileRunning::Steer => self.take_with_others(new, while_running).await?,
            WhileRunning::Reject | WhileRunning::Interrupt => self.take_at_work(new, while_running).await?,
        };
        let Some(taken) = taken else { return Err(self.refused(new, while_running).await?) };
        if !taken.same {
            return Err(EnqueueError::OtherWish);
        }
        let state = state(&taken.state).map_err(|source| sqlx::Error::Decode(source.into()))?;
        Ok(Enqueued { command: taken.command, ordinal: taken.ordinal, state, created: taken.created })
    }

    async fn take_with_others(
        &self,
        new: &NewCommand,
        while_running: WhileRunning,
    ) -> Result<Option<Taken>, EnqueueError> {
        let taking = Taking::new(new, &self.sources, while_running);
        self.takings.ask(self, new.org, taking).await.map_err(|error| match error {
            StoreError::Database { source, .. } => EnqueueError::Database(source),
            other => EnqueueError::Database(sqlx::Error::Decode(other.into())),
        })
    }

    async fn take_at_work(&self, new: &NewCommand, while_running: WhileRunning) -> Result<Option<Taken>, EnqueueError> {
        let now = self.sources.now();
        let row = sqlx::query_file!(
            "src/command/take_at_work.sql",
            new.org as OrgId,
            new.session as SessionId,
            self.sources.id::<CommandId>() as CommandId,
            payload(&new.wish),
            new.idempotency_key,
            new.created_by as Option<AccountId>,
            now,
            now.date_naive(),
            traces::carried(),
            while_running.column(),
            self.sources.id::<CommandId>() as CommandId,
            self.sources.id::<AuditId>() as AuditId,
            self.sources.id::<AuditId>() as AuditId,
            telling::actor(new.created_by),
        )
        .fetch_optional(self.of(new.org))
        .await?;
        Ok(row.map(|row| Taken {
            command: row.command_id,
            ordinal: row.ordinal,
            state: row.state,
            created: row.created,
            same: row.same,
        }))
    }

    /// Why a command was not taken down that nobody had taken down before.
    async fn refused(&self, new: &NewCommand, while_running: WhileRunning) -> Result<EnqueueError, EnqueueError> {
        let session = sqlx::query!(
            r#"-- command_refused
            SELECT archived_at IS NOT NULL AS "archived!",
                EXISTS (SELECT FROM org_policies AS policy WHERE policy.org_id = sessions.org_id
                    AND NOT sessions.agent = ANY (policy.agents)) AS "agent_refused!"
            FROM sessions WHERE org_id = $1 AND session_id = $2"#,
            new.org as OrgId,
            new.session as SessionId,
        )
        .fetch_optional(self.of(new.org))
        .await?;
        Ok(match session {
            None => EnqueueError::NoSuchSession,
            Some(session) if session.archived => EnqueueError::Archived,
            Some(session) if session.agent_refused => EnqueueError::AgentRefused,
            Some(_) => {
                let found = self.quota_used_up(new.org, &QUOTAS_OF_TURNS).await;
                let found = found.map_err(|error| EnqueueError::Database(sqlx::Error::Decode(error.into())))?;
                match found {
                    None if while_running == WhileRunning::Reject => EnqueueError::Busy,
                    found => EnqueueError::OverQuota(found.unwrap_or_else(|| self.raised_since())),
                }
            }
        })
    }

    /// For a prompt that was refused for a quota that somebody has raised since: it ends now.
    fn raised_since(&self) -> UsedUp {
        let (kind, period, now) = (UsageKind::Turns, QuotaPeriod::Day, self.sources.now());
        UsedUp { origin: QuotaOrigin::Org, kind, period, ends_at: now, seen_at: now }
    }
}

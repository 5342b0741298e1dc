//! One leased session: its commands, one after the other, until none can run.

use std::sync::Arc;

use chrono::TimeDelta;
use domain::command::{CommandState, Wish, wait_after_loss};
use domain::event::{Event, TurnOutcome};
use ids::{CheckpointId, ProjectSourceId};
use store::{Held, Lease, NewCheckpoint, NextCommand, QUOTAS_OF_TURNS, StoreError};

use crate::Context;
use crate::halt::{Halt, chain};
use crate::holdings::Hold;
use crate::journal::{Ending, Journal};
use crate::measured::label;
use crate::plan::{Plan, plan};

/// A session that this worker holds.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) context: Arc<Context>,
    pub(crate) hold: Hold,
    pub(crate) journal: Journal,
    pub(crate) agent: String,
    pub(crate) checkpoint: Option<CheckpointId>,
    /// What the workspace begins with, as long as there is no checkpoint.
    pub(crate) project_source: Option<ProjectSourceId>,
    /// How often the command in hand was started. For the wait before the next time.
    attempt: i32,
}

/// Carries out the session's commands, and gives the lease up whatever happens.
#[tracing::instrument(skip_all, fields(session.id = %lease.session))]
pub(crate) async fn advance(context: Arc<Context>, lease: Lease, held: Result<Held, StoreError>) {
    let hold = context.holdings.hold(lease.clone());
    let held = match held {
        Ok(held) => held,
        Err(error) => return give_up(&context, &lease, error.into(), 0).await,
    };
    let journal = Journal::new(context.parts.store.clone(), lease.clone(), held.last_sequence, held.projection);
    let mut session = Session {
        context: context.clone(),
        hold,
        journal,
        agent: held.agent,
        checkpoint: held.checkpoint,
        project_source: held.project_source,
        attempt: 0,
    };
    if let Err(halt) = session.all(held.next).await {
        give_up(&context, &lease, halt, session.attempt).await;
    }
}

async fn give_up(context: &Context, lease: &Lease, halt: Halt, attempt: i32) {
    let now = context.parts.store.sources().now();
    let wake_at = match halt {
        Halt::Lost => {
            metrics::counter!("cowork_lease_lost_total").increment(1);
            tracing::warn!("the lease was lost; what was not yet written is dropped");
            return;
        }
        Halt::Cut => now,
        Halt::OverQuota(until) => until,
        Halt::Retry(error) => {
            tracing::warn!(error = chain(error.as_ref()), attempt, "a turn was lost and will be tried again");
            now + TimeDelta::from_std(wait_after_loss(context.config.backoff, attempt)).unwrap_or_default()
        }
    };
    if let Err(error) = context.parts.store.lease_release(lease, wake_at).await {
        tracing::warn!(error = chain(&error), "the lease was not given up; it will run out");
    }
}

impl Session {
    async fn all(&mut self, mut next: Option<NextCommand>) -> Result<(), Halt> {
        if next.is_none() {
            next = self.context.parts.store.lease_end_idle(&self.hold.lease).await?;
        }
        while let Some(command) = next {
            if self.context.draining.is_cancelled() {
                return Err(Halt::Cut);
            }
            self.attempt = command.attempt;
            next = self.carry_out(command).await?;
            self.may_go_on(next.as_ref()).await?;
        }
        Ok(())
    }

    /// Maintenance and quotas were looked at when the session was claimed; here before a command that follows within the lease.
    async fn may_go_on(&self, next: Option<&NextCommand>) -> Result<(), Halt> {
        let (Some(next), store) = (next, &self.context.parts.store) else { return Ok(()) };
        if store.maintenance_remembered().await?.is_some() {
            return Err(Halt::Cut);
        }
        if !next.limited || !matches!(next.wish, Wish::Prompt { .. }) {
            return Ok(());
        }
        let used_up = store.quota_used_up(self.hold.lease.org, &QUOTAS_OF_TURNS).await?;
        used_up.map_or(Ok(()), |used_up| Err(Halt::OverQuota(used_up.ends_at)))
    }

    async fn carry_out(&mut self, command: NextCommand) -> Result<Option<NextCommand>, Halt> {
        self.journal.take_up(&command).await?;
        match plan(&command, self.journal.projection()) {
            Plan::Run(first) => {
                first.into_iter().for_each(|event| self.journal.push(event));
                self.run(command).await
            }
            Plan::AbortWaiting => self.end(&command, Ended::with(TurnOutcome::Aborted)).await,
            Plan::SetAside => {
                let attempts = command.attempt;
                tracing::error!(command.id = %command.command, attempts, "a command was set aside");
                let error = format!("set aside: {attempts} attempts were lost");
                self.end(&command, Ended { error: Some(error), ..Ended::with(TurnOutcome::Dead) }).await
            }
            Plan::Refuse(why) => {
                let (state, sentence) = (CommandState::Refused, why.to_owned());
                let ending = Ending { command: command.command, state, sentence, turn: None, checkpoint: None };
                self.journal.finish(ending).await
            }
        }
    }

    /// Ends the command's turn.
    pub(crate) async fn end(&mut self, command: &NextCommand, ended: Ended) -> Result<Option<NextCommand>, Halt> {
        let (state, sentence) = ended.judged();
        let Ended { outcome, error, checkpoint } = ended;
        self.journal.push(Event::TurnEnded { command_id: command.command, outcome, error });
        let ending = Ending { command: command.command, state, sentence, turn: Some(outcome), checkpoint };
        let next = self.journal.finish(ending).await?;
        metrics::counter!("cowork_turns_total", "outcome" => label(outcome)).increment(1);
        tracing::Span::current().record("outcome", label(outcome));
        Ok(next)
    }
}

/// How a turn ended, for the record.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) outcome: TurnOutcome,
    /// With `Failed` and `Dead`: what went wrong, for people.
    pub(crate) error: Option<String>,
    pub(crate) checkpoint: Option<NewCheckpoint>,
}

impl Ended {
    fn with(outcome: TurnOutcome) -> Self {
        Self { outcome, error: None, checkpoint: None }
    }

    pub(crate) fn failed(error: String) -> Self {
        Self { error: Some(error), ..Self::with(TurnOutcome::Failed) }
    }

    fn judged(&self) -> (CommandState, String) {
        let error = || self.error.clone().unwrap_or_default();
        match self.outcome {
            TurnOutcome::Completed => (CommandState::Done, "the turn is complete".into()),
            TurnOutcome::AwaitingApproval => (CommandState::Done, "the turn waits for an approval".into()),
            TurnOutcome::AwaitingAnswer => (CommandState::Done, "the turn waits for an answer".into()),
            TurnOutcome::Aborted => (CommandState::Done, "the turn was aborted".into()),
            TurnOutcome::Failed => (CommandState::Failed, error()),
            TurnOutcome::Dead => (CommandState::Dead, error()),
        }
    }
}

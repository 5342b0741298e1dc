//! Rows 7 to 9: one worker, two schedulers, the gateway. Before each stands the proof that the role was idle until then.
//!
//! Not here: what each check compares (`checks`).

use client::Client;
use clock::Timestamp;
use ids::SessionId;

use super::{Activity, GATEWAY, LEASE, SAVED, SCHEDULER, SETTLE, SLOTS, Stages, WORKER};
use crate::checks::worker::Smoked;
use crate::checks::{Inquiry, cursors, gateway, kept, scheduler, standing, worker};
use crate::options::Options;
use crate::proceedings::{Done, Halt};
use crate::processes::Role;
use crate::report::{CheckId, Code, FollowUp, FollowUpStatus, Severity};
use crate::run::Gathered;
use crate::said::say;
use crate::target::moved;

/// Counters of the probe `activity` that only a scheduler moves.
const SCHEDULERS_COUNTERS: [&str; 3] = ["slots", "runs", "triggers_next_due"];
/// Counters of the probe `activity` that only a gateway moves.
const GATEWAYS_COUNTERS: [&str; 6] =
    ["deliveries", "deliveries_sent", "delivery_attempts", "cursor_sequences", "inbound_messages", "trigger_calls"];

impl Stages<'_> {
    /// Row 7.
    pub(super) async fn enable_worker(&mut self, operator: &Client) -> Result<(), Halt> {
        if self.exclude(CheckId::WorkerRecovery)? {
            return Ok(());
        }
        let mut inquiry = self.inquire(CheckId::WorkerRecovery);
        let (backup, aftermath, target) = (self.backup, self.aftermath, &mut *self.target);
        let Some(smoke) = &aftermath.smoke else {
            inquiry.could_not("the worker could not be tried", "the plan names no session for a smoke prompt");
            // The gateway's messages need one all the same.
            self.start(WORKER, "worker-1", Role::Worker, &mut inquiry).await?;
            return self.judged(WORKER, inquiry, "");
        };
        let (client, session) = (operator.in_org(smoke.org), smoke.session);
        let smoked = self
            .proceedings
            .stage(WORKER, async |_| {
                worker::judge_acknowledged(&mut inquiry, backup, &aftermath.acknowledged, aftermath.restarts);
                let before = client.session_get(session).await?.session.last_sequence;
                let up = inquiry.started(target.start("worker-1", Role::Worker).await);
                if !up {
                    return Ok(Done::plain(Smoked::Nobody));
                }
                Ok(Done::plain(worker::smoke(&mut inquiry, &client, smoke, before).await))
            })
            .await?;
        if let Some(standing) = self.standing() {
            standing::judge_request(&mut inquiry, standing, operator).await;
        }
        if let (Smoked::Well, Some(kept)) = (smoked, self.kept()) {
            kept::judge_waiting(&mut inquiry, backup, kept, operator).await;
        }
        if smoked != Smoked::Nobody {
            self.oversleep(&mut inquiry, &client, session).await?;
        }
        self.judge_living(&mut inquiry).await;
        self.judged(
            WORKER,
            inquiry,
            "the smoke prompt was carried out in the restored workspace and saved; a stale token was refused",
        )
    }

    /// The rest of row 7: a worker that sleeps through its lease, and what both of them saved.
    pub(super) async fn oversleep(
        &mut self,
        inquiry: &mut Inquiry,
        client: &Client,
        session: SessionId,
    ) -> Result<(), Halt> {
        let target = &mut *self.target;
        let slept = self
            .proceedings
            .stage(LEASE, async |_| Ok(Done::plain(worker::stale_worker(inquiry, target, client, session).await)))
            .await?;
        let turns = if slept { 2 } else { 1 };
        self.meddle(LEASE.id).await?;
        let (backup, target) = (self.backup, &mut *self.target);
        self.proceedings
            .stage(SAVED, async |_| {
                worker::judge_checkpoints(inquiry, backup, target, session, turns).await;
                Ok(Done::nothing())
            })
            .await
    }

    /// Row 8.
    pub(super) async fn enable_schedulers(
        &mut self,
        operator: &Client,
        idle: &Activity,
        restored_at: Timestamp,
        gathered: &mut Gathered,
    ) -> Result<(), Halt> {
        if self.exclude(CheckId::SchedulerRecovery)? {
            return Ok(());
        }
        let mut inquiry = self.inquire(CheckId::SchedulerRecovery);
        self.prove_idle(&mut inquiry, idle, &SCHEDULERS_COUNTERS, "scheduler").await?;
        let (backup, aftermath, target) = (self.backup, self.aftermath, &mut *self.target);
        let sources = self.proceedings.sources.clone();
        let expectations = self
            .proceedings
            .stage(SCHEDULER, async |_| {
                scheduler::judge_history(&mut inquiry, backup, operator).await;
                for name in ["scheduler-1", "scheduler-2"] {
                    if !inquiry.started(target.start(name, Role::Scheduler).await) {
                        return Ok(Done::plain(None));
                    }
                }
                Ok(Done::plain(Some(scheduler::Expectations {
                    held: &aftermath.held,
                    fired_before_disaster: &aftermath.fired,
                    remembers: aftermath.ledger.is_some(),
                    restored_at,
                    schedulers_started_at: sources.now(),
                })))
            })
            .await?;
        if let Some(expectations) = expectations {
            self.meddle("scheduler-up").await?;
            let firing = scheduler::judge_firing(&mut inquiry, backup, operator, &expectations, &sources);
            let seen = self.proceedings.stage(SLOTS, async |_| Ok(Done::plain(firing.await))).await?;
            let remembered = gathered.remembered.as_mut().filter(|_| aftermath.witness);
            if let Some((remembered, seen)) = remembered.zip(seen) {
                remembered.seen.get_or_insert_default().slots = seen;
            }
        }
        self.judge_living(&mut inquiry).await;
        self.judged(
            SCHEDULER,
            inquiry,
            "two schedulers fired exactly the slots that were due and had not fired before, each once",
        )
    }

    /// Row 9.
    pub(super) async fn enable_gateway(
        &mut self,
        operator: &Client,
        idle: &Activity,
        gathered: &mut Gathered,
    ) -> Result<(), Halt> {
        if self.exclude(CheckId::GatewayRecovery)? {
            return Ok(());
        }
        let mut inquiry = self.inquire(CheckId::GatewayRecovery);
        self.prove_idle(&mut inquiry, idle, &GATEWAYS_COUNTERS, "gateway").await?;
        let (triggers, people) = (self.kept().and_then(|kept| kept.triggers.as_ref()), self.people());
        let closed = self.kept().map(|kept| &kept.closed);
        let (backup, aftermath, target) = (self.backup, self.aftermath, &mut *self.target);
        let sources = self.proceedings.sources.clone();
        let mut expectations = gateway::Expectations {
            sink: &aftermath.sink,
            mark: aftermath.sink.mark(),
            channel: aftermath.inbound_channel.as_ref(),
            witness: aftermath.witness,
            inbound: &aftermath.inbound,
            called: aftermath.called.as_ref(),
            triggers,
            closed,
            people,
            gateway_url: String::new(),
            snapshot: (backup.manifest.snapshot.started_at, backup.manifest.snapshot.taken_at),
            arrived: aftermath.arrived,
            interruptions: &aftermath.interruptions,
            remembers: aftermath.ledger.is_some(),
        };
        let rows = self
            .proceedings
            .stage(GATEWAY, async |_| {
                if !inquiry.started(target.start("gateway", Role::Gateway).await) {
                    return Ok(Done::plain(None));
                }
                expectations.gateway_url = target.url(Role::Gateway);
                cursors::judge(&mut inquiry, backup);
                Ok(Done::plain(gateway::ask(&mut inquiry, backup, operator, &expectations, &sources).await))
            })
            .await?;
        if let Some(rows) = rows {
            self.meddle("asked").await?;
            let settle = gateway::settle(&mut inquiry, backup, operator, &rows, &expectations);
            let sent = self.proceedings.stage(SETTLE, async |_| Ok(Done::plain(settle.await))).await?;
            tell_sent(gathered, sent.unwrap_or_default(), self.options, aftermath.witness);
        }
        self.judge_living(&mut inquiry).await;
        self.judged(
            GATEWAY,
            inquiry,
            "what had been sent stayed sent, what was pending went out once and in order, and what nobody could know is held \
             or deduplicated; retry and dead letter work",
        )
    }

    /// The counters `names` have not moved since only web was there.
    async fn prove_idle(
        &self,
        inquiry: &mut Inquiry,
        idle: &Activity,
        names: &[&'static str],
        role: &'static str,
    ) -> Result<(), Halt> {
        let now = self.activity().await?;
        let moved = moved(idle, &now);
        for name in names {
            if !now.contains_key(*name) {
                inquiry.could_not("idleness", say!("the activity probe has no counter {}", name));
            }
            inquiry.expect(!moved.iter().any(|other| other == name), Code::RoleNotIdle, || {
                say!("{} moved although no {} had been started", name, role)
            });
        }
        Ok(())
    }
}

/// What became of the deliveries; and what went out again because nothing remembered it.
fn tell_sent(gathered: &mut Gathered, sent: gateway::Sent, options: &Options, witness: bool) {
    if let Some(remembered) = gathered.remembered.as_mut().filter(|_| witness) {
        remembered.seen.get_or_insert_default().deliveries = sent.seen;
    }
    if sent.forgotten == 0 {
        return;
    }
    let sentence = say!(
        "{} deliveries that the lost system had sent after the backup went out again, under the same webhook-id; a \
         receiver that does not deduplicate saw them twice",
        sent.forgotten
    );
    gathered.notes.push(sentence.clone());
    gathered.follow_ups.push(FollowUp {
        id: None,
        finding: sentence.to_string(),
        owner: options.metadata.report_owner.clone(),
        severity: Severity::Medium,
        due_date: None,
        status: FollowUpStatus::Open,
    });
}

//! The workflows of the source: those that fire, those that wait, paused, and those that are called.
//!
//! Not here: what a target's schedulers make of them (`checks::scheduler`).

use anyhow::{Context as _, bail};
use chrono::TimeDelta;
use client::{Client, NewTrigger, NewWorkflow, Trigger, Workflow, WorkflowAction};
use clock::Sources;
use ids::{OrgId, WorkflowId};
use redact::CanaryClass;
use secrecy::{ExposeSecret as _, SecretString};

use super::{Life, PATIENCE};
use crate::checks::eventually;
use crate::inbound;
use crate::rehearsal::canaries::Canaries;
use crate::rehearsal::kept::{OVERLAP_S, ToRotate};
use crate::rehearsal::{Call, Held, KnownTrigger};
use crate::said::Sentence;

#[derive(Debug)]
pub(super) struct Workflows {
    /// Runs when it is called.
    pub(super) called: KnownTrigger,
    /// Was rotated, with an overlap: its secret in force, and the one before.
    pub(super) overlapping: (KnownTrigger, SecretString),
    /// Will be rotated after the backup.
    pub(super) to_rotate: ToRotate,
    /// Fires every second.
    pub(super) busy: WorkflowId,
    /// Fires once, soon.
    pub(super) once: WorkflowId,
    /// Fires every other second, and makes good for what it missed.
    pub(super) steady: WorkflowId,
    /// Paused: due before the disaster, to fire when the target resumes them; but one, which the source resumes itself after the
    /// backup.
    pub(super) held: Vec<Held>,
}

impl Workflows {
    pub(super) async fn plan(
        client: &Client,
        org: OrgId,
        sources: &Sources,
        canaries: &mut Canaries,
    ) -> anyhow::Result<Self> {
        let now = sources.now();
        let plan = async |name: &str, state: &str, policy: &str, trigger: NewTrigger| {
            let workflow = NewWorkflow {
                name: name.to_owned(),
                prompt: format!("say {name} ran"),
                missed_policy: Some(policy.to_owned()),
                overlap_policy: Some("allow".to_owned()),
                state: Some(state.to_owned()),
                triggers: vec![trigger],
                ..NewWorkflow::default()
            };
            client.workflow_create(&workflow).await
        };
        let every_second = NewTrigger::Interval { every_s: 1, anchor_at: Some(now) };
        let every_other = NewTrigger::Interval { every_s: 2, anchor_at: Some(now) };
        let soon = NewTrigger::Once { at: now + TimeDelta::seconds(1) };
        let yearly = NewTrigger::Cron { expression: "0 4 1 1 *".to_owned(), time_zone: "Europe/Berlin".to_owned() };
        let busy = plan("pulse", "active", "skip", every_second).await?.workflow_id;
        let once = plan("launch", "active", "run_once", soon.clone()).await?.workflow_id;
        let steady = plan("backlog", "active", "run_all", every_other).await?.workflow_id;
        plan("new year", "active", "run_once", yearly).await?;
        let held_once = plan("held once", "paused", "run_once", soon).await?.workflow_id;
        let mut held = vec![Held { org, workflow: held_once, resumed: false }];
        for (name, resumed) in [("held hourly", false), ("held for a while", true)] {
            let make = async |trigger| plan(name, "paused", "run_once", trigger).await;
            held.push(Held { org, workflow: hourly_from_soon(client, sources, make).await?, resumed });
        }
        let called = plan("errand", "active", "skip", NewTrigger::Webhook {}).await?;
        let called = known_trigger(org, &called, canaries)?;
        let errand = async |name: &str| plan(name, "active", "skip", NewTrigger::Webhook {}).await;
        let overlapping = errand("errand by two secrets").await?;
        let overlapping = rotate(client, known_trigger(org, &overlapping, canaries)?, &overlapping, canaries).await?;
        let to_rotate = errand("errand by another secret").await?;
        let (known, trigger) = (known_trigger(org, &to_rotate, canaries)?, trigger_of(&to_rotate)?.trigger_id);
        let to_rotate = ToRotate { known, trigger };
        Ok(Self { called, overlapping, to_rotate, busy, once, steady, held })
    }
}

impl Life {
    /// Calls the workflow that is called, until the call is taken.
    pub(super) async fn call(&self, when: &str) -> anyhow::Result<()> {
        let call = self.call_of(&self.workflows.called, when).await?;
        self.memory().calls.push(call);
        Ok(())
    }

    /// The same of a trigger, with the secret that it is known by.
    pub(super) async fn call_of(&self, trigger: &KnownTrigger, when: &str) -> anyhow::Result<Call> {
        let (event_id, data) = (format!("call_{when}"), format!("{when} the backup"));
        let called = eventually(PATIENCE, async || {
            inbound::call(&self.urls.gateway, trigger, &event_id, &data, &self.sources).await.ok()
        });
        let answer = called.await.ok_or_else(|| Sentence::from("the gateway takes no call"))?;
        // `None` is for what was accepted before a restore, or is skipped, and neither happens here.
        let run = answer.run_id.context("the gateway gives no run for a new call")?;
        Ok(Call { event_id, data, run })
    }
}

fn trigger_of(workflow: &Workflow) -> anyhow::Result<&Trigger> {
    workflow.triggers.first().context("a new workflow came without its trigger")
}

/// The trigger of a workflow that was just made, with its secret.
fn known_trigger(org: OrgId, workflow: &Workflow, canaries: &mut Canaries) -> anyhow::Result<KnownTrigger> {
    let trigger = trigger_of(workflow)?;
    let (Some(path), Some(signing_secret)) = (trigger.path.clone(), trigger.signing_secret.clone()) else {
        bail!("a new webhook trigger came without its address or its secret")
    };
    canaries.add(CanaryClass::ChannelCredential, "a trigger's signing secret", signing_secret.expose_secret());
    Ok(KnownTrigger { org, workflow: workflow.workflow_id, path, signing_secret })
}

/// Another secret for it, beside which the one of before goes on to be taken.
async fn rotate(
    client: &Client,
    known: KnownTrigger,
    workflow: &Workflow,
    canaries: &mut Canaries,
) -> anyhow::Result<(KnownTrigger, SecretString)> {
    let rotated =
        client.trigger_rotate_secret(workflow.workflow_id, trigger_of(workflow)?.trigger_id, OVERLAP_S).await?;
    let signing_secret = rotated.signing_secret.context("a trigger was rotated and came without its secret")?;
    canaries.add(CanaryClass::ChannelCredential, "a trigger's second secret", signing_secret.expose_secret());
    let older = known.signing_secret;
    Ok((KnownTrigger { signing_secret, ..known }, older))
}

/// A workflow with a slot that falls due in a moment, and then once an hour. On a machine so busy that the moment was over when
/// the workflow was made, its first slot is an hour away: it is archived, and another one made with more time.
async fn hourly_from_soon(
    client: &Client,
    sources: &Sources,
    make: impl AsyncFn(NewTrigger) -> Result<Workflow, client::Error>,
) -> anyhow::Result<WorkflowId> {
    for lead_s in [1, 4, 16, 64] {
        let soon = sources.now() + TimeDelta::seconds(lead_s);
        let made = make(NewTrigger::Interval { every_s: 3_600, anchor_at: Some(soon) }).await?;
        if made.triggers.iter().any(|trigger| trigger.next_due_at.is_some_and(|due| due - soon < TimeDelta::minutes(1)))
        {
            return Ok(made.workflow_id);
        }
        client.workflow_act(made.workflow_id, WorkflowAction::Archive).await?;
    }
    Err(Sentence::from("no workflow could be made within a minute").into())
}

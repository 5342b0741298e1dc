//! Calls of workflows that the lost system took, made again: a part of row 9.
//!
//! A call whose run is in the backup is known with that run; one that was taken after it is known by the recovery ledger alone, and has
//! lost its run. Neither starts another one.
//!
//! Not here: messages of channels and deliveries (`gateway`).

use std::collections::BTreeSet;

use client::Client;
use clock::Sources;
use ids::{RunId, WorkflowId};
use serde::Deserialize;

use super::Inquiry;
use super::gateway::Expectations;
use crate::api;
use crate::backup::Backup;
use crate::inbound;
use crate::report::Code;
use crate::said::{facts, say};

/// A line of the probe `runs`.
#[derive(Debug, Deserialize)]
struct RunRow {
    workflow_id: WorkflowId,
    run_id: RunId,
}

/// Makes every call again. Without a ledger those of after the backup are forgotten, as everything of then is.
pub(crate) async fn judge(
    inquiry: &mut Inquiry,
    backup: &Backup,
    operator: &Client,
    expectations: &Expectations<'_>,
    sources: &Sources,
) {
    let (Some(called), gateway) = (expectations.called, &expectations.gateway_url) else { return };
    let Some(kept) = inquiry.learn("the backup's runs", backup.probe::<RunRow>("runs")) else { return };
    let kept: BTreeSet<RunId> =
        kept.iter().filter(|run| run.workflow_id == called.trigger.workflow).map(|run| run.run_id).collect();
    if !called.calls.iter().any(|call| kept.contains(&call.run)) {
        return inquiry.could_not("no call was accepted before the backup", "there is nothing to repeat");
    }
    let (mut repeated, mut lost) = (0_usize, 0_usize);
    for call in called.calls.iter().filter(|call| expectations.remembers || kept.contains(&call.run)) {
        let answer = inbound::call(gateway, &called.trigger, &call.event_id, &call.data, sources).await;
        let Some(answer) = inquiry.learn("a repeated call to the gateway", answer) else { continue };
        let known = answer.run_id == Some(call.run).filter(|run| kept.contains(run));
        (repeated, lost) = (repeated + 1, lost + usize::from(answer.run_id.is_none()));
        let event = inquiry.keyed(&call.event_id);
        inquiry.expect(answer.duplicate && known, Code::CallTakenTwice, || {
            let when = if kept.contains(&call.run) { "before" } else { "after" };
            say!("the call {} was accepted {} the backup and is taken again", event, when)
        });
    }
    let runs = api::runs(&operator.in_org(called.trigger.org)).await;
    let Some(runs) = inquiry.learn("the runs of the workflow that is called", runs) else { return };
    let now: BTreeSet<RunId> =
        runs.iter().filter(|run| run.workflow_id == called.trigger.workflow).map(|run| run.run_id).collect();
    inquiry.record("calls", &facts!({"repeated": repeated, "without_run": lost, "runs": now.len()}));
    inquiry.expect(now == kept, Code::CallTakenTwice, || {
        say!("the workflow {} has {} runs, and the backup has {}", called.trigger.workflow, now.len(), kept.len())
    });
}

//! What can be looked at without the database: secrets, objects, agents, the last drill.
//!
//! Not here: whether a drill's report is what was signed (`cowork drill verify`).

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use chrono::TimeDelta;
use clock::Timestamp;
use config::Config;
use objects::{Objects, ObjectsError};
use uuid::Uuid;
use web::{DrillRecords, DrillState, DrillVerdict, LastDrill};

use crate::failure::Failure;
use crate::process::Process;

/// A week, and a day for whoever is late. As the alert `CoworkDrillOld`.
const DRILL_AGE_MAX: TimeDelta = TimeDelta::days(8);
/// What began longer ago and has not ended is not going on any more.
const DRILL_MAX: TimeDelta = TimeDelta::days(1);

/// Every secret has a value, and the adapter key is one.
pub(super) fn secrets(config: &Config, process: &Process) -> Result<String, Failure> {
    let configured = config.secret_references();
    let statuses = configured.statuses(&config.secret_reader(process.environment.clone()));
    let missing: Vec<String> = statuses
        .iter()
        .filter(|status| !status.resolved)
        .map(|status| format!("{} ({})", status.name, status.error.as_deref().unwrap_or("no value")))
        .collect();
    let provide = "Provide each of them where its reference says, or correct the reference.";
    if !missing.is_empty() {
        return Err(Failure::failed("Secrets have no value.", missing.join("; "), provide));
    }
    let resolved = configured.resolve_all(&config.secret_reader(process.environment.clone()));
    let resolved = resolved.map_err(|missing| Failure::failed("Secrets have no value.", missing, provide))?;
    resolved.kms(process.sources.clone()).map_err(|error| {
        let give = "Give secrets.adapter_key 32 bytes as base64 or hex, and each version once.";
        Failure::failed("The adapter key can't be used.", error, give)
    })?;
    Ok(format!("{} have a value", statuses.len()))
}

/// The folder is there, and what is written can be read and taken away again.
pub(super) async fn objects(config: &Config, process: &Process) -> Result<String, Failure> {
    let folder = &config.objects.folder;
    let advice = "Make the folder that objects.folder names and let the roles' account write there, or correct it.";
    if !folder.is_dir() {
        return Err(Failure::failed("The object store is not there.", "its folder does not exist", advice));
    }
    let tried = async {
        let objects = Objects::open_folder(folder)?;
        let key = format!("doctor/{}", process.sources.id::<Uuid>());
        let blob = objects.put(&key, "a doctor's probe".into()).await?;
        let read = objects.get_blob(&blob).await.map(drop);
        objects.delete(&key).await?;
        read
    };
    let tried: Result<(), ObjectsError> = tried.await;
    tried.map_err(|error| Failure::failed("The object store does not work.", error, advice))?;
    Ok("an object was written, read and taken away".into())
}

/// The programs of the agents that the configuration names are here. Whether they speak, and whether this kernel confines them, is
/// seen when they run.
pub(super) fn agents(config: &Config) -> Result<String, Failure> {
    let agents = &config.worker.agents;
    let missing = agents.iter().filter(|agent| !is_program(Path::new(&agent.command)));
    let missing: Vec<String> = missing.map(|agent| format!("{} ({})", agent.name, agent.command)).collect();
    if missing.is_empty() {
        return Ok(match agents.len() {
            0 => "none is configured besides scripted".into(),
            count => format!("the programs of {count} are here"),
        });
    }
    let advice = "Install them here, correct the command of each, or take them out of the configuration.";
    Err(Failure::failed("Agents have no program.", missing.join("; "), advice))
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// The drill that began last has passed, not long ago. Whoever names no folder of drills is not asked.
pub(super) async fn drills(config: &Config, now: Timestamp) -> Result<String, Failure> {
    let Some(folder) = &config.drills.folder else { return Ok("no folder of them is configured".into()) };
    let last = DrillRecords::new(Some(folder.clone()), None, None).last().await.map_err(|error| {
        let advice = "Let this account read what drills.folder names, or correct it.";
        Failure::could_not("The folder of drills can't be read.", error, advice)
    })?;
    judge_last(last.as_ref(), now)
}

fn judge_last(last: Option<&LastDrill>, now: Timestamp) -> Result<String, Failure> {
    let run = "Run `cowork drill run`, and see that its timer runs.";
    let Some(last) = last else {
        return Err(Failure::failed("No drill was run.", "the folder that drills.folder names has none", run));
    };
    let LastDrill { drill_id, started_at, .. } = last;
    let at = last.finished_at.unwrap_or(*started_at);
    match (last.state, last.verdict) {
        (DrillState::Concluded, Some(DrillVerdict::Passed)) if now - at <= DRILL_AGE_MAX => {
            Ok(format!("the last one passed, at {at}"))
        }
        (DrillState::Concluded, Some(DrillVerdict::Passed)) => {
            let detail = format!("the last one, {drill_id}, passed at {at}");
            Err(Failure::failed("No drill was run for too long.", detail, run))
        }
        (DrillState::Concluded, _) => {
            let detail = format!("{drill_id}, which ended at {at}");
            let advice = "Read its report: its first row that did not pass says what would not have come back.";
            Err(Failure::failed("The last drill did not pass.", detail, advice))
        }
        (DrillState::Interrupted, _) if now - at <= DRILL_MAX => Ok(format!("one began at {at} and has not ended")),
        (DrillState::Interrupted, _) => {
            let detail = format!("{drill_id} began at {at} and never came to its end");
            let advice = "Run `cowork drill clean`, which removes what it left, and then another one.";
            Err(Failure::failed("The last drill was interrupted.", detail, advice))
        }
        (DrillState::Unreadable, _) => {
            let detail = format!("{drill_id}, which began at {at}; GET /api/drills says why");
            Err(Failure::failed("What the last drill left can't be understood.", detail, run))
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use ids::DrillId;

    use super::*;

    const START: Timestamp = DateTime::UNIX_EPOCH;

    fn last(state: DrillState, verdict: Option<DrillVerdict>) -> LastDrill {
        let finished_at = verdict.map(|_| START + TimeDelta::hours(1));
        LastDrill { drill_id: DrillId::from(Uuid::nil()), started_at: START, state, verdict, finished_at }
    }

    /// What is said of it `hours` after it began.
    #[track_caller]
    fn check(last: Option<&LastDrill>, hours: i64, expected: Result<&str, &str>) {
        let judged = judge_last(last, START + TimeDelta::hours(hours));
        let told = judged.as_deref().map_err(|failure| failure.parts().0);
        match (told, expected) {
            (Ok(told), Ok(part)) => assert!(told.contains(part), "{told}"),
            (told, expected) => assert_eq!(told, expected),
        }
    }

    #[test]
    fn a_drill_that_is_old_or_did_not_pass_or_never_ended_is_not_good() {
        let passed = last(DrillState::Concluded, Some(DrillVerdict::Passed));
        check(Some(&passed), 8 * 24 + 1, Ok("the last one passed"));
        check(Some(&passed), 8 * 24 + 2, Err("No drill was run for too long."));
        for verdict in [DrillVerdict::Failed, DrillVerdict::CouldNotVerify] {
            check(Some(&last(DrillState::Concluded, Some(verdict))), 2, Err("The last drill did not pass."));
        }
        let interrupted = last(DrillState::Interrupted, None);
        check(Some(&interrupted), 24, Ok("has not ended"));
        check(Some(&interrupted), 25, Err("The last drill was interrupted."));
        let unreadable = last(DrillState::Unreadable, None);
        check(Some(&unreadable), 1, Err("What the last drill left can't be understood."));
        check(None, 1, Err("No drill was run."));
    }
}

//! What a plan would do, stage by stage, and what stands in its way. Only looks: at the file system, and at whether
//! secrets have a value.
//!
//! Not here: whether the backup is good. The drill finds that out.

use std::path::{Path, PathBuf};

use chrono::NaiveDate;
use serde::Serialize;

use super::model::{Isolation, Plan, Roles, Side};
use super::source::Source;
use super::words::Reference;
use crate::report::CheckId;

/// What a stage would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    pub stage: &'static str,
    pub sentence: String,
}

/// Something about a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Whether the drill could not be carried out. Else it can, and some row will not be verified.
    pub fatal: bool,
    pub sentence: String,
    pub advice: &'static str,
}

impl Problem {
    fn fatal(sentence: impl Into<String>, advice: &'static str) -> Self {
        Self { fatal: true, sentence: sentence.into(), advice }
    }

    fn thin(sentence: impl Into<String>, advice: &'static str) -> Self {
        Self { fatal: false, sentence: sentence.into(), advice }
    }
}

impl Plan {
    /// With relative paths started at `base`, the folder of the plan's file.
    #[must_use]
    pub fn anchored(mut self, base: &Path) -> Self {
        let anchor = |path: &mut PathBuf| *path = base.join(&*path);
        match &mut self.source {
            Source::Archive(archive) => anchor(&mut archive.folder),
            Source::Dump(dump) => [&mut dump.path, &mut dump.objects].into_iter().for_each(anchor),
            Source::BaseBackup(base) => {
                [&mut base.folder, &mut base.wal, &mut base.objects].into_iter().for_each(anchor);
            }
            Source::PgBackRest(repository) => {
                [&mut repository.config, &mut repository.objects].into_iter().for_each(anchor);
            }
            Source::Provided(provided) => anchor(&mut provided.objects),
        }
        let others =
            [&mut self.ledger, &mut self.production.objects, &mut self.target.workspaces, &mut self.output.folder];
        others.into_iter().flatten().for_each(anchor);
        self
    }
}

/// What stands in the way. `resolves` says why a secret has no value.
pub fn examine(plan: &Plan, today: NaiveDate, resolves: impl Fn(&Reference) -> Result<(), String>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (path, folder) in paths(plan) {
        let there = std::fs::metadata(path).is_ok_and(|facts| !folder || facts.is_dir());
        if !there {
            let what = if folder { "folder" } else { "file" };
            problems.push(Problem::fatal(
                format!("there is no {what} {}", path.display()),
                "correct the path; a relative one starts at the plan's folder",
            ));
        }
    }
    for reference in plan.references() {
        if let Err(cause) = resolves(reference) {
            problems.push(Problem::fatal(
                format!("the secret {} has no value: {cause}", reference.as_str()),
                "provide it where the reference says, or correct the reference",
            ));
        }
    }
    for exclusion in plan.expired(today) {
        problems.push(Problem::fatal(
            format!("leaving out {} has expired on {}", exclusion.check.as_str(), exclusion.expires),
            "drill the check again, or have somebody answer for another date",
        ));
    }
    problems.extend(without_commands(plan));
    problems.extend(thin(plan));
    problems
}

/// Paths that must be there, and whether each is a folder.
fn paths(plan: &Plan) -> Vec<(&Path, bool)> {
    let mut paths: Vec<(&Path, bool)> = match &plan.source {
        Source::Archive(archive) => vec![(&archive.folder, true)],
        Source::Dump(dump) => vec![(&dump.path, false), (&dump.objects, true)],
        Source::BaseBackup(base) => vec![(&base.folder, true), (&base.wal, true), (&base.objects, true)],
        Source::PgBackRest(repository) => vec![(&repository.config, false), (&repository.objects, true)],
        Source::Provided(provided) => vec![(&provided.objects, true)],
    };
    paths.extend(plan.ledger.as_deref().map(|folder| (folder, true)));
    paths
}

/// Roles that a drill of this plan has to start, and that the plan has no commands for.
fn without_commands(plan: &Plan) -> Vec<Problem> {
    let Roles::Commands { commands, .. } = &plan.roles else { return Vec::new() };
    let left_out = |check| plan.exclusions.iter().any(|exclusion| exclusion.check == check);
    let needed = [
        ("worker", CheckId::WorkerRecovery),
        ("scheduler", CheckId::SchedulerRecovery),
        ("gateway", CheckId::GatewayRecovery),
    ];
    let missing = needed
        .into_iter()
        .filter(|(role, check)| !left_out(*check) && !commands.keys().any(|known| known.as_str() == *role));
    let problem = |(role, check): (&str, CheckId)| {
        Problem::fatal(
            format!("[roles] has no commands for the {role}, which {} needs", check.as_str()),
            "add them, or leave the check out",
        )
    };
    missing.map(problem).collect()
}

/// What the plan does not say, so that rows can't be verified.
fn thin(plan: &Plan) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut note = |missing: bool, sentence: &str, advice| {
        if missing {
            problems.push(Problem::thin(sentence, advice));
        }
    };
    let manifest = matches!(plan.source, Source::Archive(_));
    let side = |side| plan.expectations.iter().any(|expectation| expectation.side == Some(side));
    note(
        !manifest && plan.expectations.is_empty(),
        "row 1 can't be verified: this backup has no manifest, and the plan expects nothing of its rows",
        "add an [[expect]] whose number you know from elsewhere",
    );
    note(
        plan.source.target_time().is_some() && !(side(Side::Before) && side(Side::After)),
        "row 1 can't be verified: a recovery to an instant is seen from both sides only",
        "add an [[expect]] with side = \"before\" and one with side = \"after\"",
    );
    note(
        plan.production.system_identifier.is_none() && plan.production.database.is_none(),
        "the plan does not say what production is; the drill can prove less of its target",
        "fill in [production]",
    );
    let commands = |role: &str| match &plan.roles {
        Roles::Commands { commands, .. } => commands.iter().find(|(name, _)| name.as_str() == role).map(|(_, one)| one),
        Roles::Local => None,
    };
    note(
        commands("worker").is_some_and(|worker| worker.suspend.is_none() || worker.resume.is_none()),
        "row 7 can't be verified: the plan has no commands that make a worker sleep and wake it",
        "add `suspend` and `resume` to [roles.worker]",
    );
    note(
        ["web", "worker", "scheduler", "gateway"].into_iter().filter_map(commands).any(|one| one.logs.is_none()),
        "row 10 can't be verified: the plan does not say where every role logs",
        "add `logs` to each table of [roles]",
    );
    note(plan.smoke.is_none(), "row 7 can't be verified: the plan names no session", "fill in [smoke]");
    note(
        plan.smoke.as_ref().is_some_and(|smoke| smoke.remembers.is_none() || smoke.sha256.is_none()),
        "row 7 can't be verified: the plan names no file that the session's workspace remembers",
        "fill in `remembers` and `sha256` of [smoke]",
    );
    note(plan.gateway.is_none(), "row 9 can't be verified: the plan names no channel", "fill in [gateway]");
    note(
        plan.gateway.as_ref().is_some_and(|gateway| gateway.repeat.is_none()),
        "row 9 can't be verified: the plan names no message that was accepted before the backup",
        "fill in [gateway.repeat]",
    );
    for exclusion in &plan.exclusions {
        let sentence = format!("{} is {}", exclusion.check.as_str(), exclusion.sentence());
        problems.push(Problem::thin(sentence, "it will not be passed; remove the [[exclude]] when its reason is gone"));
    }
    problems
}

/// What the drill would do.
#[must_use]
pub fn explain(plan: &Plan) -> Vec<Step> {
    let step = |stage, sentence: String| Step { stage, sentence };
    let thresholds = plan.thresholds;
    vec![
        step("preflight", "find the programs that the restore needs; remove what killed drills left".to_owned()),
        step("prove", format!("prove that the target is not production, and that it is apart: {}", apart(plan))),
        step("restore", restoring(plan)),
        step("data", data(plan)),
        step(
            "generation",
            "begin a new generation, as a drill: its gateway reaches the drill's own recorder only".to_owned(),
        ),
        step(
            "roles",
            format!("bring up web, one worker, two schedulers and the gateway, in this order, {}", controller(plan)),
        ),
        step(
            "judge",
            format!(
                "judge ten rows, {} of them left out; a recovery may take {} s, lose {} s, and the backup may be {} s old",
                plan.exclusions.len(),
                thresholds.rto_s,
                thresholds.rpo_s,
                thresholds.backup_age_s
            ),
        ),
        step("tear-down", "stop and remove all that the drill has started and made".to_owned()),
    ]
}

fn apart(plan: &Plan) -> &'static str {
    match (&plan.roles, plan.target.isolation) {
        (Roles::Commands { .. }, _) => "where the operator's roles run the drill can't see, and the report says so",
        (Roles::Local, Isolation::Required) => "without a route to the outside, or the drill does not begin",
        (Roles::Local, Isolation::IfPossible) => "without a route to the outside, if this machine allows it",
        (Roles::Local, Isolation::Off) => "with this machine's network, and the report says so",
    }
}

fn restoring(plan: &Plan) -> String {
    let until = plan.source.target_time().map_or_else(String::new, |at| format!(", to {}", at.to_rfc3339()));
    match &plan.source {
        Source::Provided(provided) => {
            format!("take the database that was provided, if it is marked with {:?}", provided.mark.as_str())
        }
        source => format!("restore the backup ({}) into a private Postgres on this machine{until}", source.kind()),
    }
}

fn data(plan: &Plan) -> String {
    let expected = plan.expectations.len();
    match plan.source {
        Source::Archive(_) => format!(
            "compare every table, object and secret reference with the manifest, and {expected} numbers with the plan"
        ),
        _ => format!(
            "no manifest: compare the schema with this build's, {expected} numbers with the plan, objects with the rows \
             that name them, and let Postgres check every page; the rows' content can't be compared"
        ),
    }
}

fn controller(plan: &Plan) -> &'static str {
    match plan.roles {
        Roles::Local => "as processes on this machine",
        Roles::Commands { .. } => "by the operator's commands",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The template with its blanks filled in.
    fn filled(archive: &str) -> String {
        let named = super::super::TEMPLATE.replace("name = \"\" ", "name = \"nightly\" ");
        named.replace("owner = \"\" ", "owner = \"Ada\" ").replace("folder = \"\" ", &format!("folder = {archive:?} "))
    }

    #[test]
    fn the_template_is_a_plan_once_its_blanks_are_filled_in() {
        let error = Plan::parse(super::super::TEMPLATE).unwrap_err();
        assert!(error.to_string().contains("line 8: this text is empty"), "{error}");
        let folder = tempfile::tempdir().unwrap();
        let plan = Plan::parse(&filled("archive")).unwrap().anchored(folder.path());
        let fatal = |plan: &Plan| {
            let problems = examine(plan, NaiveDate::MIN, |_| Ok(()));
            problems.into_iter().filter(|problem| problem.fatal).collect::<Vec<_>>()
        };
        assert!(fatal(&plan)[0].sentence.contains("there is no folder"));
        std::fs::create_dir(folder.path().join("archive")).unwrap();
        assert_eq!(fatal(&plan), []);
    }

    #[test]
    fn every_commented_key_of_the_template_is_one_that_is_known() {
        for kind in ["dump", "base_backup", "pgbackrest", "provided"] {
            let text = uncommented(kind);
            Plan::parse(&text).unwrap_or_else(|error| panic!("{kind}: {error}\n{text}"));
        }
    }

    /// The template with every commented line switched on, and one kind of source.
    fn uncommented(kind: &str) -> String {
        let mut text = String::new();
        let mut skip = false;
        for line in filled("archive").lines() {
            let bare = line.strip_prefix("# ").unwrap_or(line);
            let is_toml = bare.starts_with('[') || bare.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
            if bare.starts_with('[') {
                skip = bare.starts_with("[source.") && !bare.starts_with(&format!("[source.{kind}]"));
            }
            if is_toml && !skip {
                text += bare;
                text.push('\n');
            }
        }
        // A top-level key would belong to the table above it.
        text
    }

    #[test]
    fn an_exclusion_that_expired_stands_in_the_way() {
        let text = filled("a")
            + "[[exclude]]\ncheck = \"gateway-recovery\"\nreason = \"r\"\nowner = \"o\"\nexpires = \"2026-01-01\"\n";
        let plan = Plan::parse(&text).unwrap();
        let expired = |date: &str| {
            let problems = examine(&plan, date.parse().unwrap(), |_| Ok(()));
            problems.iter().any(|problem| problem.fatal && problem.sentence.contains("expired"))
        };
        assert!(!expired("2026-01-01"), "the last day counts");
        assert!(expired("2026-01-02"));
    }
}

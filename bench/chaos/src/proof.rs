//! What the product's own commands say of the system in the end: everything sealed opens, the audit trails hold, a backup of it is
//! whole, and a drill of that backup passes, with a judge that shares no code with the system.
//!
//! Not here: the laws, which are asked before (`judge`).

use std::path::Path;

use e2e::{Drill, Facts, Installation, PlanText};
use tokio::task::spawn_blocking;

use crate::judge::Violation;

/// A command, and what it says when it succeeds.
const COMMANDS: [(&str, &[&str], &str); 2] = [
    ("admin-verify", &["admin", "verify"], "every secret resolves, every ciphertext and every checkpoint opens"),
    ("audit-verify", &["audit", "verify"], "the chain of every audit trail holds"),
];
const BACKUP: [(&str, &[&str], &str); 2] = [
    ("backup", &["backup", "--archive", "../archive"], "the system can be backed up, with every object that it names"),
    ("archive-verify", &["archive", "verify", "--archive", "../archive"], "the backup is whole"),
];

/// Opens what is sealed and follows the audit trails.
pub(crate) async fn verify(installation: &Installation) -> anyhow::Result<Vec<Violation>> {
    call(installation, &COMMANDS).await
}

/// Takes a backup into `folder` and drills it, beside the lost system's ledger.
pub(crate) async fn drill(installation: &Installation, folder: &Path, facts: &Facts) -> anyhow::Result<Vec<Violation>> {
    let violations = call(installation, &BACKUP).await?;
    if !violations.is_empty() {
        return Ok(violations);
    }
    let source = format!("[source.archive]\nfolder = {:?}", folder.join("archive"));
    let plan = PlanText::about(installation.folder(), facts, &source);
    let plan = plan.with(&format!("ledger = {:?}", installation.data().join("ledger")));
    let plan = plan.write_to(installation.folder(), "plan");
    let (work, out) = (folder.join("work"), folder.join("report"));
    std::fs::create_dir_all(&work)?;
    let ended = spawn_blocking(move || Drill::of_plan(&plan, &work, &out).finish()).await?;
    let rows = ended.report.0["checks"].as_array().cloned().unwrap_or_default();
    let broken = rows.iter().filter(|row| row["verdict"] != "passed");
    let sentence = "a drill of the system passes";
    let mut violations: Vec<Violation> = broken
        .map(|row| Violation::new("drill", sentence, format!("{}: {}; {}", row["id"], row["summary"], row["findings"])))
        .collect();
    if violations.is_empty() && ended.code != 0 {
        violations.push(Violation::new("drill", sentence, format!("it ended with {}: {}", ended.code, ended.said)));
    }
    Ok(violations)
}

async fn call(
    installation: &Installation,
    commands: &'static [(&'static str, &'static [&'static str], &'static str)],
) -> anyhow::Result<Vec<Violation>> {
    let mut violations = Vec::new();
    for (law, arguments, sentence) in commands {
        let there = installation.clone();
        let told = spawn_blocking(move || there.tell(arguments)).await?;
        if told.code != 0 {
            let found = format!("exit {}: {}{}", told.code, told.stdout.trim_end(), told.stderr.trim_end());
            violations.push(Violation::new(law, sentence, found));
        }
    }
    Ok(violations)
}

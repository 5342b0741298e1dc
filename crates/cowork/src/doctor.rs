//! `cowork doctor`: whether an installation is fit, one line for each thing that has to be.
//!
//! For an operator who was called. It looks from this machine, with this configuration: what it says of secrets, objects and the
//! ledger holds for roles that are started here. A check that could not look says so and never counts as passed.
//!
//! A warning is for what an installation works with, and what somebody should see to: its exit code is that of success.
//!
//! It changes nothing but for one small object that it writes and takes away again. Without a configured database it starts the
//! installation's own, if it does not run, and stops it at its end.
//!
//! Not here: opening everything that is sealed (`admin verify`), the audit trails (`audit verify`), proving that the system comes
//! back (`drill`).

mod checks;
mod database;

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use crate::cli::ConfigArgs;
use crate::failure::{EXIT_COULD_NOT, EXIT_FAILED, Failure};
use crate::installation::Installation;
use crate::process::Process;

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    config: ConfigArgs,
    /// Answer with one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What is looked at, in the order in which it is told.
const NAMES: [&str; 15] = [
    "configuration",
    "secrets",
    "objects",
    "agents",
    "drills",
    "database",
    "tenants",
    "keys",
    "clock",
    "ledger",
    "backups",
    "channels",
    "roles",
    "maintenance",
    "backlog",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Passed,
    /// The installation is fit, and somebody should see to something.
    Warning,
    Failed,
    CouldNotVerify,
}

/// One line of the answer.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    verdict: Verdict,
    detail: String,
    /// What to do. `None`: nothing.
    advice: Option<String>,
}

impl Check {
    /// `seen`: what is good; or what is not and what to do; or why nobody could look.
    fn of(name: &'static str, seen: Result<String, Failure>) -> Self {
        match seen {
            Ok(detail) => Self { name, verdict: Verdict::Passed, detail, advice: None },
            Err(failure) if failure.is_answer() => Self::failed(name, &failure),
            Err(failure) => Self { verdict: Verdict::CouldNotVerify, ..Self::failed(name, &failure) },
        }
    }

    /// As [`Self::of`], of what an installation is fit without.
    fn warned(name: &'static str, seen: Result<String, Failure>) -> Self {
        match Self::of(name, seen) {
            check if check.verdict == Verdict::Failed => Self { verdict: Verdict::Warning, ..check },
            check => check,
        }
    }

    /// What could not be used is itself what was looked at.
    fn failed(name: &'static str, failure: &Failure) -> Self {
        let (what, detail, advice) = failure.parts();
        let (detail, advice) = (format!("{what} {detail}"), Some(advice.to_owned()));
        Self { name, verdict: Verdict::Failed, detail, advice }
    }

    fn could_not(name: &'static str, because: &str) -> Self {
        let detail = format!("nobody could look: {because}");
        Self { name, verdict: Verdict::CouldNotVerify, detail, advice: None }
    }
}

impl Doctor {
    pub(crate) async fn run(self, process: Process) -> Result<ExitCode, Failure> {
        let checks = self.look(&process).await;
        let verdict = overall(&checks);
        if self.json {
            let answer = serde_json::json!({"verdict": verdict, "checks": checks});
            println!("{answer}");
        } else {
            tell(&checks);
        }
        Ok(match verdict {
            Verdict::Passed | Verdict::Warning => ExitCode::SUCCESS,
            Verdict::Failed => ExitCode::from(EXIT_FAILED),
            Verdict::CouldNotVerify => ExitCode::from(EXIT_COULD_NOT),
        })
    }

    async fn look(&self, process: &Process) -> Vec<Check> {
        let config = match self.config.load(process) {
            Ok(config) => config,
            Err(failure) => {
                let mut checks = vec![Check::failed("configuration", &failure)];
                let others = NAMES.into_iter().skip(1);
                checks.extend(others.map(|name| Check::could_not(name, "the configuration can't be read")));
                return checks;
            }
        };
        let mut checks = vec![
            Check::of("configuration", Ok("it can be read, and every key is known".into())),
            Check::of("secrets", checks::secrets(&config, process)),
            Check::of("objects", checks::objects(&config, process).await),
            Check::of("agents", checks::agents(&config)),
            Check::warned("drills", checks::drills(&config, process.sources.now()).await),
        ];
        match Installation::open(config, process).await {
            Ok(installation) => {
                checks.extend(database::look(&installation).await);
                installation.close().await;
            }
            Err(failure) => {
                checks.push(Check::failed("database", &failure));
                let others = NAMES.into_iter().skip(checks.len());
                checks.extend(others.map(|name| Check::could_not(name, "the database can't be used")));
            }
        }
        checks
    }
}

/// A fault counts before what could not be looked at: it is what to mend first.
fn overall(checks: &[Check]) -> Verdict {
    let any = |verdict| checks.iter().any(|check| check.verdict == verdict);
    if any(Verdict::Failed) {
        Verdict::Failed
    } else if any(Verdict::CouldNotVerify) {
        Verdict::CouldNotVerify
    } else if any(Verdict::Warning) {
        Verdict::Warning
    } else {
        Verdict::Passed
    }
}

fn tell(checks: &[Check]) {
    for Check { name, verdict, detail, advice } in checks {
        let word = match verdict {
            Verdict::Passed => "ok",
            Verdict::Warning => "WARNING",
            Verdict::Failed => "FAILED",
            Verdict::CouldNotVerify => "UNKNOWN",
        };
        println!("{word:8} {name:14} {detail}");
        if let Some(advice) = advice {
            println!("{:23} what to do: {advice}", "");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_looked_at_never_counts_as_passed() {
        let passed = || Check::of("a", Ok(String::new()));
        let unknown = || Check::could_not("b", "no");
        let failed = || Check::of("c", Err(Failure::failed("No.", "no", "mend it")));
        assert_eq!(overall(&[passed()]), Verdict::Passed);
        assert_eq!(overall(&[passed(), unknown()]), Verdict::CouldNotVerify);
        assert_eq!(overall(&[unknown(), failed(), passed()]), Verdict::Failed);
    }

    #[test]
    fn a_warning_is_told_where_nothing_is_worse() {
        let passed = || Check::of("a", Ok(String::new()));
        let warning = || Check::warned("b", Err(Failure::failed("Old.", "a week", "do it")));
        let unknown = || Check::warned("c", Err(Failure::could_not("No.", "no", "mend it")));
        assert_eq!(overall(&[passed(), warning()]), Verdict::Warning);
        assert_eq!(overall(&[warning(), unknown()]), Verdict::CouldNotVerify, "nobody looked");
        let failed = Check::of("d", Err(Failure::failed("No.", "no", "mend it")));
        assert_eq!(overall(&[warning(), failed]), Verdict::Failed);
        assert_eq!(Check::warned("a", Ok("fine".into())).verdict, Verdict::Passed);
    }
}

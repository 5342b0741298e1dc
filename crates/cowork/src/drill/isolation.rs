//! Leaving the machine's network before a drill begins: everything that the process starts from then on is in a network
//! namespace with a loopback interface and without a route.
//!
//! It has to happen before the process has a second thread, so `main` asks for it. It takes Linux and root; elsewhere the
//! report says that isolation could not be verified, and the drill goes on with the machine's network.
//!
//! Not here: proving it (crate `drill`).

use std::fs::File;
use std::process::{Command, Stdio};

use ::drill::Isolated;
use ::drill::plan::{Isolation, Plan, Roles, Source};
use clap::ValueEnum;
use nix::sched::{CloneFlags, setns, unshare};

const OWN: &str = "/proc/self/ns/net";

/// What `--isolation` takes: the words of `target.isolation` in a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(super) enum Wanted {
    /// Or the drill does not begin
    Required,
    /// Or the report says that it could not be verified
    IfPossible,
    /// With this machine's network; the report says that isolation could not be verified
    Off,
}

impl From<Wanted> for Isolation {
    fn from(wanted: Wanted) -> Self {
        match wanted {
            Wanted::Required => Self::Required,
            Wanted::IfPossible => Self::IfPossible,
            Wanted::Off => Self::Off,
        }
    }
}

/// Isolates this process for a rehearsal, whose source, target and receivers are all its own.
pub(super) fn for_rehearsal(wanted: Wanted) -> Isolated {
    match wanted {
        Wanted::Off => not_tried("it was switched off"),
        Wanted::Required | Wanted::IfPossible => enter(),
    }
}

/// Isolates this process, if the plan wants it and the machine allows it.
pub(super) fn for_plan(plan: &Plan) -> Isolated {
    match (&plan.roles, plan.target.isolation, &plan.source) {
        (Roles::Commands { .. }, _, _) => not_tried("the roles are elsewhere"),
        (_, Isolation::Off, _) => not_tried("the plan switches it off"),
        (_, Isolation::IfPossible, Source::Provided(_)) => {
            not_tried("the provided database may be reached over the network only")
        }
        _ => enter(),
    }
}

fn not_tried(cause: &str) -> Isolated {
    Isolated::NotTried { cause: cause.to_owned() }
}

fn enter() -> Isolated {
    leave().unwrap_or_else(|cause| Isolated::Impossible { cause })
}

/// If anything fails, the process is where it was.
fn leave() -> Result<Isolated, String> {
    let unknown = |error| format!("no network namespaces here: {error}");
    let left = std::fs::read_link(OWN).map_err(unknown)?;
    let way_back = File::open(OWN).map_err(unknown)?;
    unshare(CloneFlags::CLONE_NEWNET).map_err(|error| format!("a network namespace can't be made: {error}"))?;
    let Err(cause) = loopback() else { return Ok(Isolated::Namespace { left: left.display().to_string() }) };
    // The judge could not talk to its roles.
    match setns(way_back, CloneFlags::CLONE_NEWNET) {
        Ok(()) => Err(cause),
        Err(error) => Err(format!("{cause}; there was no way back into the old network namespace: {error}")),
    }
}

fn loopback() -> Result<(), String> {
    let mut up = Command::new("ip");
    up.args(["link", "set", "lo", "up"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match up.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("the loopback interface did not come up: `ip` ended with {status}")),
        Err(error) => Err(format!("the loopback interface did not come up: `ip` can't be started: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_switches_isolation_off_is_obeyed() {
        let text = "format = 1\nname = \"n\"\nowner = \"o\"\n[thresholds]\nrto_s = 1\nrpo_s = 1\nbackup_age_s = 1\n\
                    [operator]\ntoken = \"env:T\"\n[target]\nisolation = \"off\"\n[source.archive]\nfolder = \"a\"\n";
        assert_eq!(for_plan(&Plan::parse(text).unwrap()), not_tried("the plan switches it off"));
        assert_eq!(for_rehearsal(Wanted::Off), not_tried("it was switched off"));
    }
}

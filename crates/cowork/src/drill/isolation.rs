//! Leaving the machine's network before a drill begins: everything that the process starts from then on is in a network
//! namespace with a loopback interface and without a route.
//!
//! It has to happen before the process has a second thread, so `main` asks for it. It takes Linux and root; elsewhere the
//! report says that isolation could not be verified.
//!
//! Not here: proving it (crate `drill`).

use std::process::{Command, Stdio};

use ::drill::Isolated;
use ::drill::plan::{Isolation, Plan, Roles, Source};
use nix::sched::{CloneFlags, unshare};

/// Isolates this process, if the plan wants it and the machine allows it.
pub(super) fn enter(plan: &Plan) -> Isolated {
    let not_tried = |cause: &str| Isolated::NotTried { cause: cause.to_owned() };
    match (&plan.roles, plan.target.isolation, &plan.source) {
        (Roles::Commands { .. }, _, _) => return not_tried("the roles are elsewhere"),
        (_, Isolation::Off, _) => return not_tried("the plan switches it off"),
        (_, Isolation::IfPossible, Source::Provided(_)) => {
            return not_tried("the provided database may be reached over the network only");
        }
        _ => {}
    }
    leave().unwrap_or_else(|cause| Isolated::Impossible { cause })
}

fn leave() -> Result<Isolated, String> {
    let left =
        std::fs::read_link("/proc/self/ns/net").map_err(|error| format!("no network namespaces here: {error}"))?;
    unshare(CloneFlags::CLONE_NEWNET).map_err(|error| format!("a network namespace can't be made: {error}"))?;
    let mut loopback = Command::new("ip");
    loopback.args(["link", "set", "lo", "up"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match loopback.status() {
        Ok(status) if status.success() => Ok(Isolated::Namespace { left: left.display().to_string() }),
        // There is no way back into the old one, and the judge could not talk to its roles.
        Ok(status) => Err(format!("the loopback interface did not come up: `ip` ended with {status}")),
        Err(error) => Err(format!("the loopback interface did not come up: `ip` can't be started: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_that_switches_isolation_off_is_obeyed() {
        let text = "format = 1\nname = \"n\"\nowner = \"o\"\n[thresholds]\nrto_s = 1\nrpo_s = 1\nbackup_age_s = 1\n\
                    [operator]\ntoken = \"env:T\"\n[target]\nisolation = \"off\"\n[source.archive]\nfolder = \"a\"\n";
        let entered = enter(&Plan::parse(text).unwrap());
        assert_eq!(entered, Isolated::NotTried { cause: "the plan switches it off".to_owned() });
    }
}

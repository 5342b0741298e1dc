//! Whether a drill stands where it may: the target of a plan is not production, and nothing of any drill has a way out. Asked
//! before anything is written; what can't be proven the report says.
//!
//! Not here: entering a network namespace (the binary does, before it has a second thread), the mark of a database that
//! others restored (`origin::provided`).

use std::fmt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures::future::join_all;
use secrecy::ExposeSecret as _;
use sqlx::{Connection as _, PgConnection};
use tokio::net::TcpStream;

use crate::options::{Isolated, Options, PlanRun};
use crate::origin::Origin;
use crate::plan::{Isolation, Name, Roles};
use crate::rehearsal::{Aftermath, Elsewhere, Means};
use crate::said::{Heard, Sentence, say};
use crate::target::Target;

/// How long somebody who must not answer has to answer.
const SILENCE: Duration = Duration::from_secs(2);
/// Documentation addresses (RFC 5737): no route leads there from a namespace of its own.
const ELSEWHERE: &str = "192.0.2.1:9";

/// Proves what can be proven of the target. Gives back sentences for the report.
///
/// # Errors
/// If the target may be production.
pub(crate) async fn prove(run: &PlanRun, means: &Means<'_>, aftermath: &Aftermath) -> anyhow::Result<Vec<Sentence>> {
    let mut proofs = Vec::new();
    let answers = join_all(aftermath.elsewhere.iter().map(answers)).await;
    for (place, answers) in aftermath.elsewhere.iter().zip(answers) {
        if answers {
            bail!("{place} answers, and the plan says that nothing of the drill may reach it");
        }
    }
    if !run.plan.production.addresses.is_empty() {
        proofs.push(say!("{} addresses of production did not answer", run.plan.production.addresses.len()));
    }
    if let Some(objects) = &run.plan.production.objects {
        apart(means.work.path(), objects)?;
        proofs.push("the target's folder is not production's object store".into());
    }
    proofs.push(match &aftermath.origin {
        Origin::Provided(_, url) => other_server(run, url).await?,
        _ => "the target's database will be in a private server of the drill's own".into(),
    });
    Ok(proofs)
}

/// Whether anybody is there. Who refuses to talk has answered, too.
pub(crate) async fn answers(place: &Elsewhere) -> bool {
    let asked = tokio::time::timeout(SILENCE, async {
        match place {
            Elsewhere::Server(address) => TcpStream::connect(address).await.is_ok(),
            Elsewhere::Database(url) => !matches!(PgConnection::connect(url).await, Err(sqlx::Error::Io(_))),
        }
    });
    asked.await.unwrap_or(false)
}

/// A database by its kind only: its URL may hold a password.
impl fmt::Display for Elsewhere {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database(_) => out.write_str("the lost system's database"),
            Self::Server(address) => out.write_str(address),
        }
    }
}

/// Where the roles run: the proof that they have no way out, or the sentence that says why there is none.
///
/// # Errors
/// If there is none and one is required.
pub(crate) async fn isolation(options: &Options) -> anyhow::Result<Result<Sentence, Sentence>> {
    if options.plan.as_ref().is_some_and(|run| matches!(run.plan.roles, Roles::Commands { .. })) {
        let doubt = "isolation could not be verified: the operator's commands start the roles elsewhere";
        return Ok(Err(doubt.into()));
    }
    let doubt = match &options.isolated {
        Isolated::Namespace { left } => match no_way_out(left).await {
            Ok(()) => return Ok(Ok("the drill and its roles run in a network namespace without a route".into())),
            Err(error) => Sentence::about(&error),
        },
        Isolated::Impossible { cause } | Isolated::NotTried { cause } => say!("{}", Heard::of(cause)),
    };
    if options.isolation == Isolation::Required {
        bail!("isolation is required, and there is none: {doubt}");
    }
    Ok(Err(say!("isolation could not be verified: {}", doubt)))
}

/// The kernel's own account: another namespace than before, no route in it, and no way to an address elsewhere.
async fn no_way_out(left: &str) -> anyhow::Result<()> {
    let now = namespace_of("self").context("the network namespace can't be named")?;
    anyhow::ensure!(now != left, "this is the network namespace of before");
    let routes = std::fs::read_to_string("/proc/self/net/route").context("the routes can't be read")?;
    anyhow::ensure!(routes.lines().count() <= 1, "the network namespace has routes");
    // Of IPv6 the kernel lists its own, over the loopback interface. Without IPv6 there is no such file.
    let routes = std::fs::read_to_string("/proc/self/net/ipv6_route").unwrap_or_default();
    let local = |route: &str| route.split_whitespace().next_back() == Some("lo");
    anyhow::ensure!(routes.lines().all(local), "the network namespace has routes of IPv6");
    match tokio::time::timeout(SILENCE, TcpStream::connect(ELSEWHERE)).await {
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::NetworkUnreachable => Ok(()),
        _ => bail!("an address elsewhere is not unreachable"),
    }
}

fn namespace_of(process: &str) -> std::io::Result<String> {
    Ok(std::fs::read_link(format!("/proc/{process}/ns/net"))?.display().to_string())
}

/// How many of the target's roles share the judge's namespace, which has no way out, and whether all do. Asked of the running
/// processes. `None`: the judge is in none of its own.
pub(crate) fn roles_inside(options: &Options, target: &Target) -> Option<(Sentence, bool)> {
    let Isolated::Namespace { .. } = &options.isolated else { return None };
    let own = namespace_of("self").ok()?;
    let inside = target.roles.iter().filter(|role| namespace_of(&role.pid.to_string()).is_ok_and(|seen| seen == own));
    let (inside, all) = (inside.count(), target.roles.len());
    let seen = say!("{} of {} running roles were seen in the network namespace without a route", inside, all);
    Some((seen, all > 0 && inside == all))
}

fn apart(work: &Path, objects: &Path) -> anyhow::Result<()> {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let (work, objects) = (real(work), real(objects));
    anyhow::ensure!(
        !work.starts_with(&objects) && !objects.starts_with(&work),
        "the drill would work in production's object store"
    );
    Ok(())
}

/// A server that somebody provided is not the one of production, as far as that can be told.
async fn other_server(run: &PlanRun, url: &str) -> anyhow::Result<Sentence> {
    let production = &run.plan.production;
    let live = production.database.as_ref().and_then(|reference| run.values.get(reference));
    if live.is_some_and(|live| live.expose_secret() == url) {
        bail!("the provided database is production's: both have one URL");
    }
    let target = identity(url).await.context("the provided database does not answer")?;
    if let Some(live) = live {
        // From an isolated drill it should not answer, and then there is nothing to compare.
        if let Ok(Ok(live)) = tokio::time::timeout(SILENCE, identity(live.expose_secret())).await
            && live == target
        {
            bail!("the provided database is production's: one server, started at one instant, has both");
        }
    }
    let named = production.system_identifier.as_ref().map(Name::as_str);
    Ok(match named {
        Some(named) if named == target.0 => {
            "the provided server has production's system identifier, as a physical copy has".into()
        }
        Some(_) => "the provided server has another system identifier than production".into(),
        None => "the plan does not say which system identifier production has".into(),
    })
}

/// System identifier, start of the server, database.
async fn identity(url: &str) -> Result<(String, String, String), sqlx::Error> {
    let mut connection = PgConnection::connect(url).await?;
    let sql = "SELECT system_identifier::text, pg_postmaster_start_time()::text, current_database()::text
        FROM pg_control_system()";
    let identity = sqlx::query_as(sql).fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(identity)
}

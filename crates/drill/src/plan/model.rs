//! The parts of a plan as types.
//!
//! Not here: the backup's kind (`source`), what is left out (`exclusion`).

use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono::NaiveDate;
use ids::{ChannelId, CommandId, OrgId, SessionId, WorkflowId};
use serde::Deserialize;
use toml::Spanned;

use super::error::PlanError;
use super::exclusion::{EXCLUDABLE, Exclusion};
use super::source::{Source, Sources};
use super::words::{Name, Reference, Shell, Sql};

/// The format that this build reads.
const FORMAT: u32 = 1;

/// A plan that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub name: Name,
    /// Who owns the report, and what follows from it.
    pub owner: Name,
    /// What the drill is evidence for.
    pub controls: Vec<Name>,
    pub thresholds: Thresholds,
    pub source: Source,
    /// The recovery ledger of the lost system; read only.
    pub ledger: Option<PathBuf>,
    pub production: Production,
    pub target: TargetFacts,
    pub operator: Operator,
    /// By the name that the configuration has for them.
    pub secrets: BTreeMap<String, SecretAt>,
    pub roles: Roles,
    pub expectations: Vec<Expectation>,
    pub smoke: Option<Smoke>,
    pub scheduler: SchedulerFacts,
    pub gateway: Option<GatewayFacts>,
    pub canaries: Vec<Canary>,
    pub exclusions: Vec<Exclusion>,
    pub output: Output,
}

/// What the operator wants, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    pub rto_s: u32,
    pub rpo_s: u32,
    /// How old the backup may be when the drill begins.
    pub backup_age_s: u32,
}

/// What the target must never be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Production {
    /// `SELECT system_identifier FROM pg_control_system()`.
    pub system_identifier: Option<Name>,
    pub database: Option<Reference>,
    pub objects: Option<PathBuf>,
    /// `HOST:PORT` of servers that nothing of the drill may reach.
    #[serde(default)]
    pub addresses: Vec<Name>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetFacts {
    /// The path that the source's workers have: an agent's state is bound to it.
    pub workspaces: Option<PathBuf>,
    #[serde(default)]
    pub isolation: Isolation,
}

/// Whether roles of the drill's own run without a route to the outside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// Else the drill does not begin.
    Required,
    /// Else the report says that it could not be verified.
    #[default]
    IfPossible,
    Off,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operator {
    /// A token of scope `operator` that the backup knows.
    pub token: Reference,
}

/// Where a secret of the restored system is, and which version of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretAt {
    pub reference: Reference,
    pub version: Name,
}

/// How roles are started and stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Roles {
    /// As processes of this program, on this machine.
    Local,
    /// By commands of the operator's own, by role. `inherit` names variables that they get from the drill's environment.
    Commands { inherit: Vec<Name>, commands: BTreeMap<Name, RoleCommands> },
}

/// Commands for one role. Each gets `COWORK_DRILL_ROLE`, `COWORK_DRILL_INSTANCE`, `COWORK_DRILL_CONFIG` and
/// `COWORK_DRILL_FOLDER`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleCommands {
    pub start: Shell,
    pub stop: Shell,
    /// Ends with 0 while the instance is there and ready. A line of it that begins with `http` is where it answers.
    pub status: Shell,
    /// Where it answers, unless `status` says so.
    pub url: Option<Name>,
    /// For a worker: makes it sleep as it stands, and wakes it.
    pub suspend: Option<Shell>,
    pub resume: Option<Shell>,
    /// Prints its log.
    pub logs: Option<Shell>,
    #[serde(default = "timeout")]
    pub timeout_s: u32,
}

fn timeout() -> u32 {
    120
}

/// A number that the operator knows of the restored rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    pub name: Name,
    pub sql: Sql,
    /// Of a recovery to an instant: `before` is what must be there, `after` what must not.
    pub side: Option<Side>,
    pub bounds: Bounds,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    Before,
    After,
}

/// What the number may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub at_least: Option<i64>,
    pub at_most: Option<i64>,
}

impl Bounds {
    #[must_use]
    pub fn hold(self, number: i64) -> bool {
        self.at_least.is_none_or(|least| number >= least) && self.at_most.is_none_or(|most| number <= most)
    }
}

/// The session in which one worker proves that it works.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Smoke {
    pub org: OrgId,
    pub session: SessionId,
    /// A file that its workspace has had since before the backup.
    pub remembers: Option<Name>,
    /// Its SHA-256.
    pub sha256: Option<Name>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SchedulerFacts {
    /// Paused workflows that the drill may resume in the copy.
    #[serde(default)]
    pub resume: Vec<Held>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    pub org: OrgId,
    pub workflow: WorkflowId,
}

/// A channel into which the drill may send a message.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewayFacts {
    pub org: OrgId,
    pub channel: ChannelId,
    pub signing_secret: Reference,
    /// A message that was accepted before the backup.
    pub repeat: Option<Repeat>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repeat {
    pub event_id: Name,
    pub thread: Name,
    pub text: Name,
    pub command: CommandId,
}

/// A secret that must not be found in any output.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Canary {
    pub kind: CanaryKind,
    pub label: Name,
    pub reference: Reference,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CanaryKind {
    ByokKey,
    OauthToken,
    SignedUrlQuery,
    Email,
    HostPath,
    ApiToken,
    ChannelCredential,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// Where reports go, each into a folder of its own.
    pub folder: Option<PathBuf>,
}

/// As it stands in the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: Spanned<u32>,
    name: Name,
    owner: Name,
    #[serde(default)]
    controls: Vec<Name>,
    thresholds: Thresholds,
    source: Spanned<Sources>,
    ledger: Option<PathBuf>,
    #[serde(default)]
    production: Production,
    #[serde(default)]
    target: TargetFacts,
    operator: Operator,
    #[serde(default)]
    secrets: BTreeMap<String, SecretAt>,
    roles: Option<Spanned<RolesInFile>>,
    #[serde(default)]
    expect: Vec<Spanned<ExpectationInFile>>,
    smoke: Option<Smoke>,
    #[serde(default)]
    scheduler: SchedulerFacts,
    gateway: Option<GatewayFacts>,
    #[serde(default)]
    canary: Vec<Canary>,
    #[serde(default)]
    exclude: Vec<Spanned<Exclusion>>,
    #[serde(default)]
    output: Output,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RolesInFile {
    #[serde(default)]
    inherit: Vec<Name>,
    web: RoleCommands,
    worker: Option<RoleCommands>,
    scheduler: Option<RoleCommands>,
    gateway: Option<RoleCommands>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectationInFile {
    name: Name,
    sql: Sql,
    side: Option<Side>,
    equals: Option<i64>,
    at_least: Option<i64>,
    at_most: Option<i64>,
}

impl Plan {
    /// Reads a plan.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, PlanError> {
        let file: File = toml::from_str(text).map_err(|error| PlanError::unreadable(text, &error))?;
        file.into_plan(text)
    }

    /// Exclusions that no longer count on `today`.
    pub fn expired(&self, today: NaiveDate) -> impl Iterator<Item = &Exclusion> {
        self.exclusions.iter().filter(move |exclusion| exclusion.expires < today)
    }

    /// Every secret that a drill of it needs.
    #[must_use]
    pub fn references(&self) -> Vec<&Reference> {
        let provided = match &self.source {
            Source::Provided(provided) => Some(&provided.url),
            _ => None,
        };
        let gateway = self.gateway.as_ref().map(|gateway| &gateway.signing_secret);
        let secrets = self.secrets.values().map(|secret| &secret.reference);
        let canaries = self.canaries.iter().map(|canary| &canary.reference);
        let others = [Some(&self.operator.token), self.production.database.as_ref(), provided, gateway];
        others.into_iter().flatten().chain(secrets).chain(canaries).collect()
    }
}

impl File {
    fn into_plan(self, text: &str) -> Result<Plan, PlanError> {
        if *self.format.get_ref() != FORMAT {
            let error = PlanError::new("this build reads plans of format 1", "use the build that the plan is for");
            return Err(error.at(text, self.format.span().start));
        }
        let at = self.source.span().start;
        let source = self.source.into_inner().one().map_err(|error| error.at(text, at))?;
        Ok(Plan {
            name: self.name,
            owner: self.owner,
            controls: self.controls,
            thresholds: self.thresholds,
            source,
            ledger: self.ledger,
            production: self.production,
            target: self.target,
            operator: self.operator,
            secrets: self.secrets,
            roles: self.roles.map_or(Roles::Local, |roles| roles.into_inner().into_roles()),
            expectations: each(text, self.expect, ExpectationInFile::into_expectation)?,
            smoke: self.smoke,
            scheduler: self.scheduler,
            gateway: self.gateway,
            canaries: self.canary,
            exclusions: exclusions(text, self.exclude)?,
            output: self.output,
        })
    }
}

/// Converts entries; an error names the entry's line.
fn each<A, B>(
    text: &str,
    entries: Vec<Spanned<A>>,
    convert: impl Fn(A) -> Result<B, PlanError>,
) -> Result<Vec<B>, PlanError> {
    let one = |entry: Spanned<A>| {
        let at = entry.span().start;
        convert(entry.into_inner()).map_err(|error| error.at(text, at))
    };
    entries.into_iter().map(one).collect()
}

fn exclusions(text: &str, entries: Vec<Spanned<Exclusion>>) -> Result<Vec<Exclusion>, PlanError> {
    let mut seen = Vec::new();
    for entry in &entries {
        let (check, at) = (entry.get_ref().check, entry.span().start);
        if !EXCLUDABLE.contains(&check) {
            let detail = format!("the check {} can't be left out", check.as_str());
            return Err(
                PlanError::new(detail, "leave out worker, scheduler, gateway or artifacts, or nothing").at(text, at)
            );
        }
        if seen.contains(&check) {
            let detail = format!("the check {} is left out twice", check.as_str());
            return Err(PlanError::new(detail, "remove one of them").at(text, at));
        }
        seen.push(check);
    }
    Ok(entries.into_iter().map(Spanned::into_inner).collect())
}

impl RolesInFile {
    fn into_roles(self) -> Roles {
        let given = [
            ("web", Some(self.web)),
            ("worker", self.worker),
            ("scheduler", self.scheduler),
            ("gateway", self.gateway),
        ];
        let commands = given.into_iter().filter_map(|(role, commands)| Some((Name::known(role), commands?)));
        Roles::Commands { inherit: self.inherit, commands: commands.collect() }
    }
}

impl ExpectationInFile {
    fn into_expectation(self) -> Result<Expectation, PlanError> {
        let bounds = match (self.equals, self.at_least, self.at_most) {
            (Some(number), None, None) => Bounds { at_least: Some(number), at_most: Some(number) },
            (None, None, None) | (Some(_), _, _) => {
                return Err(PlanError::new(
                    "an expectation has `equals`, or `at_least` and `at_most`, or one of these",
                    "say which number is right; a number that is compared with nothing proves nothing",
                ));
            }
            (None, at_least, at_most) => Bounds { at_least, at_most },
        };
        Ok(Expectation { name: self.name, sql: self.sql, side: self.side, bounds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "format = 1\nname = \"n\"\nowner = \"o\"\n[thresholds]\nrto_s = 1\nrpo_s = 1\nbackup_age_s = 1\n\
                         [operator]\ntoken = \"env:T\"\n[source.archive]\nfolder = \"a\"\n";

    fn refused(more: &str) -> String {
        Plan::parse(&format!("{SMALL}{more}")).unwrap_err().to_string()
    }

    #[test]
    fn a_small_plan_is_read() {
        let plan = Plan::parse(SMALL).unwrap();
        assert_eq!((plan.roles, plan.target.isolation), (Roles::Local, Isolation::IfPossible));
    }

    #[test]
    fn what_is_not_known_is_an_error_that_names_its_line() {
        assert!(refused("[tagret]\n").starts_with("line 12: unknown field `tagret`"), "{}", refused("[tagret]\n"));
        let nested = refused("bakcup = \"latest\"\n");
        assert!(nested.starts_with("line 12: unknown field `bakcup`"), "{nested}");
        let entry = refused("[[exclude]]\ncheck = \"gateway-recovery\"\nreason = \"r\"\nexpires = \"2027-01-01\"\n");
        assert!(entry.contains("missing field `owner`"), "{entry}");
    }

    #[test]
    fn a_number_that_is_compared_with_nothing_is_refused() {
        let refused = refused("[[expect]]\nname = \"n\"\nsql = \"SELECT 1\"\n");
        assert!(refused.starts_with("line 12: an expectation has"), "{refused}");
    }

    #[test]
    fn a_secret_in_the_place_of_its_reference_is_not_repeated() {
        let refused = refused("[secrets.cookie]\nreference = \"hunter2\"\nversion = \"1\"\n");
        assert!(refused.starts_with("line 13: ") && !refused.contains("hunter2"), "{refused}");
    }

    #[test]
    fn rows_that_are_the_drill_itself_cannot_be_left_out() {
        let exclude = |check| {
            format!("[[exclude]]\ncheck = \"{check}\"\nreason = \"r\"\nowner = \"o\"\nexpires = \"2027-01-01\"\n")
        };
        assert!(refused(&exclude("postgres-restore")).contains("can't be left out"));
        let twice = exclude("worker-recovery").repeat(2);
        assert!(refused(&twice).starts_with("line 17: "), "{}", refused(&twice));
    }

    #[test]
    fn two_backups_are_two_plans() {
        let refused = refused("[source.dump]\npath = \"d\"\nobjects = \"b\"\n");
        assert!(refused.contains("one table"), "{refused}");
    }

    #[test]
    fn bounds_hold_on_both_ends() {
        let bounds = Bounds { at_least: Some(2), at_most: Some(3) };
        assert_eq!([1, 2, 3, 4].map(|number| bounds.hold(number)), [false, true, true, false]);
    }
}

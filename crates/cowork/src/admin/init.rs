//! Making a new system: schema, secrets if none are configured, generation 1, an org with its owner and a token.
//!
//! What exists is never made again: run on a system that has an org, it says so and changes nothing.

use std::process::ExitCode;

use clap::Args;
use domain::name;
use domain::tenancy::{Role, Scope, normal_email};
use ids::{AccountId, OrgId, SystemId};
use serde::Serialize;
use store::{Environment, FirstOrg, NewMember, NewToken};
use web::ApiToken;

use crate::cli::ConfigArgs;
use crate::failure::Failure;
use crate::installation::Installation;
use crate::process::Process;

/// Characters of an org's name.
const NAME_MAX: usize = 200;

#[derive(Debug, Args)]
pub(crate) struct Init {
    #[command(flatten)]
    config: ConfigArgs,
    /// Name of the first org
    #[arg(long, value_name = "NAME")]
    org: String,
    /// Email address of its owner
    #[arg(long, value_name = "EMAIL")]
    email: String,
    /// Answer with one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// A system that was just made. `Display` tells it to people, token and all.
#[derive(Serialize)]
pub(crate) struct Made {
    pub(crate) system_id: SystemId,
    generation: i64,
    org_id: OrgId,
    account_id: AccountId,
    /// The only time that it is shown.
    token: String,
}

impl Init {
    pub(crate) async fn run(self, process: Process) -> Result<ExitCode, Failure> {
        let installation = Installation::open(self.config.load(&process)?, &process).await?;
        let token = ApiToken::generate(&process.sources);
        let made = make(&installation, &self.org, &self.email, &token).await;
        installation.close().await;
        let made = made?;
        if self.json {
            println!("{}", serde_json::to_string(&made).expect("it is plain data"));
        } else {
            print!("{}", made.tell(&self.org));
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Made {
    fn tell(&self, org: &str) -> String {
        let Self { system_id, org_id, token, .. } = self;
        format!(
            "This system is initialised.\n\n  system  {system_id}\n  org     {org_id} ({org})\n  token   {token}\n\n\
             The token has the scopes read, write and operator. It is not shown again: keep it where secrets are kept.\n"
        )
    }
}

/// Makes the system, of which only an empty database may exist.
pub(crate) async fn make(
    installation: &Installation,
    org: &str,
    email: &str,
    token: &ApiToken,
) -> Result<Made, Failure> {
    let (org, email) = checked(org, email)?;
    secrets(installation)?;
    installation.store.migrate().await.map_err(|error| {
        Failure::could_not(
            "The schema can't be brought up to date.",
            error,
            "See that the database is empty or cowork's own, and that its user may create tables.",
        )
    })?;
    let generation = installation.store.generation_initialise(Environment::Production).await?;
    let first = FirstOrg { name: &org, owner: owner(email), token: new_token(token) };
    let made = installation.store.org_create_first(first, "role:admin").await?;
    let (org, owner) = made.ok_or_else(already_initialised)?;
    Ok(Made {
        system_id: generation.system_id,
        generation: generation.generation,
        org_id: org.org_id,
        account_id: owner.account_id,
        token: token.expose().to_owned(),
    })
}

fn checked(org: &str, email: &str) -> Result<(String, String), Failure> {
    let org = name::read(org, NAME_MAX)
        .map_err(|error| Failure::could_not("The org can't have that name.", error, "Choose another."))?;
    let email = normal_email(email).ok_or_else(|| {
        Failure::could_not("The owner can't have that address.", "it is not an email address", "Correct --email.")
    })?;
    Ok((org, email))
}

/// Generates the secrets of an installation that configures none, then sees that all resolve.
fn secrets(installation: &Installation) -> Result<(), Failure> {
    if let Some(folder) = installation.config.secrets_folder() {
        secrets::generate(&folder, installation.store.sources()).map_err(|error| {
            Failure::could_not(
                "The installation's secrets can't be made.",
                error,
                "Make the data folder writable, or configure secrets of your own.",
            )
        })?;
    }
    installation.secrets().map(drop)
}

fn owner(email: String) -> NewMember {
    NewMember { email, display_name: "Operator".into(), role: Role::Owner.into() }
}

/// Its account is set to the owner's when that is made.
fn new_token(token: &ApiToken) -> NewToken {
    NewToken {
        account: AccountId::from(uuid::Uuid::nil()),
        name: "first token".into(),
        hash: token.hash(),
        prefix: token.prefix(),
        last_four: token.last_four(),
        scopes: vec![Scope::Read, Scope::Write, Scope::Operator],
        expires_at: None,
    }
}

fn already_initialised() -> Failure {
    Failure::could_not(
        "This system is initialised already.",
        "it has an org; nothing was changed",
        "Use the token that was shown then; orgs, members and tokens are made through the API.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_org_that_is_made_by_hand_is_called_as_any_other_may_be() {
        let kept = |org: &str| checked(org, "ada@example.org").map(|(org, _)| org).ok();
        assert_eq!(kept(" cafe\u{301} "), Some("caf\u{e9}".to_owned()));
        for org in ["", " ", "\u{200b}", "a\u{202e}b", "a\nb", &"x".repeat(201)] {
            assert_eq!(kept(org), None, "{org:?}");
        }
    }
}

//! A plan's text, for a drill of a [`World`] or of another system whose facts are known.
//!
//! Not here: what may stand in one (crate `drill`).

use std::path::{Path, PathBuf};

use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};

use crate::installation::SECRETS;
use crate::world::{Facts, MEMORY, World};

/// A plan that says all that there is to say of a world, but where its backup is.
#[derive(Debug, Clone)]
pub struct PlanText {
    top: String,
    tables: String,
}

impl PlanText {
    /// `source` is the table of the backup, such as `[source.archive]` and its keys.
    ///
    /// # Panics
    /// If a file can't be written beside the world.
    #[must_use]
    pub fn of(world: &World, source: &str) -> Self {
        Self::about(world.folder(), &world.facts, source)
    }

    /// As [`Self::of`], of a system with secrets of its own in `folder`, where its operator's token is kept as
    /// `operator-token`.
    ///
    /// # Panics
    /// If a file can't be written there.
    #[must_use]
    pub fn about(folder: &Path, facts: &Facts, source: &str) -> Self {
        std::fs::write(folder.join("channel-secret"), facts.signing_secret.expose_secret())
            .expect("a file can be written");
        let (file, content) = MEMORY;
        let sha256 = hex::encode(Sha256::digest(content));
        let mut tables = format!(
            "[thresholds]\nrto_s = 3600\nrpo_s = 86400\nbackup_age_s = 93600\n\n{source}\n\n\
             [operator]\ntoken = \"file:operator-token\"\n\n\
             [smoke]\norg = \"{org}\"\nsession = \"{session}\"\nremembers = \"{file}\"\nsha256 = \"{sha256}\"\n\n\
             [[scheduler.resume]]\norg = \"{org}\"\nworkflow = \"{held}\"\n\n\
             [gateway]\norg = \"{org}\"\nchannel = \"{channel}\"\nsigning_secret = \"file:channel-secret\"\n\
             [gateway.repeat]\nevent_id = \"evt-1\"\nthread = \"general\"\ntext = \"say hello\"\n\
             command = \"{repeated}\"\n",
            org = facts.org,
            session = facts.session,
            held = facts.held,
            channel = facts.channel,
            repeated = facts.repeated,
        );
        for name in SECRETS {
            tables += &format!("\n[secrets.{name}]\nreference = \"file:secrets/{name}\"\nversion = \"1\"\n");
        }
        Self { top: "format = 1\nname = \"a story\"\nowner = \"Ada\"\n".to_owned(), tables }
    }

    /// With a number that must be right.
    #[must_use]
    pub fn expect(self, name: &str, sql: &str, bounds: &str) -> Self {
        self.and(&format!("[[expect]]\nname = {name:?}\nsql = {sql:?}\n{bounds}\n"))
    }

    /// With both sides of an instant: sessions of these titles.
    #[must_use]
    pub fn two_sided(self, before: &str, after: &str) -> Self {
        let count = |title: &str| format!("SELECT count(*) FROM sessions WHERE title = '{title}'");
        self.expect("what was made before", &count(before), "equals = 1\nside = \"before\"").expect(
            "what was made after",
            &count(after),
            "equals = 0\nside = \"after\"",
        )
    }

    /// With more tables.
    #[must_use]
    pub fn and(mut self, tables: &str) -> Self {
        self.tables += &format!("\n{tables}");
        self
    }

    /// With a key of the top.
    #[must_use]
    pub fn with(mut self, line: &str) -> Self {
        self.top += &format!("{line}\n");
        self
    }

    /// Writes it beside the world, as `NAME.toml`.
    ///
    /// # Panics
    /// If it can't be written.
    #[must_use]
    pub fn write(&self, world: &World, name: &str) -> PathBuf {
        self.write_to(world.folder(), name)
    }

    /// Writes it into `folder`, as `NAME.toml`. Its paths start there.
    ///
    /// # Panics
    /// If it can't be written.
    #[must_use]
    pub fn write_to(&self, folder: &Path, name: &str) -> PathBuf {
        let path = folder.join(format!("{name}.toml"));
        std::fs::write(&path, format!("{}\n{}", self.top, self.tables)).expect("a file can be written");
        path
    }
}

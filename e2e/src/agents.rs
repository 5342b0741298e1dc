//! Real agents: packages of npm that speak ACP and ask a model of the OpenAI kind.
//!
//! Not here: the model that they ask (`model`).

mod codex;
mod opencode;

use std::path::PathBuf;

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RealAgent {
    /// Of those that were measured it starts fastest and takes the least memory.
    Codex,
    /// Its process takes 600 MB and more.
    OpenCode,
}

/// How an operator configures one.
struct Setting {
    /// The package's folder, and its program for this machine.
    folder: PathBuf,
    program: PathBuf,
    args: Vec<String>,
    env: Vec<(&'static str, String)>,
}

impl RealAgent {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Codex => "codex",
            Self::OpenCode => "opencode",
        }
    }

    /// What its command line holds, and no other process' of a story.
    #[must_use]
    pub fn process(self) -> &'static str {
        match self {
            Self::Codex => "codex-acp",
            Self::OpenCode => "bin/opencode",
        }
    }

    /// It as an operator configures it, and its model in the provider's place.
    ///
    /// # Panics
    /// If it can't be had.
    #[must_use]
    pub fn configured(self, model: &str) -> String {
        let Setting { folder, program, args, env } = match self {
            Self::Codex => codex::setting(),
            Self::OpenCode => opencode::setting(),
        };
        assert!(program.is_file(), "the package has a program for this machine");
        let env: Vec<String> = env.iter().map(|(name, value)| format!("{name} = {value:?}")).collect();
        format!(
            "[worker.model_addresses]\nopenai = {model:?}\n\n[[worker.agents]]\nname = {:?}\ncommand = {program:?}\n\
             args = {args:?}\nenv = {{ {} }}\nprovider = \"openai\"\nreadable = [{folder:?}]\n",
            self.name(),
            env.join(", ")
        )
    }
}

//! From the layers to a [`Config`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::value::{Dict, Value};

use crate::environment::{Layer, database_url, otlp_endpoint, variables};
use crate::{Config, ConfigError};

impl Config {
    /// Reads the configuration: `file` if one is given (then it must exist), and `environment`.
    ///
    /// # Errors
    /// If the file can't be read, a key is unknown, missing or of the wrong type, or values contradict each other.
    pub fn load(
        file: Option<&Path>,
        environment: &BTreeMap<String, String>,
        working_directory: &Path,
    ) -> Result<Self, ConfigError> {
        let mut layers = Figment::new();
        if let Some(file) = file {
            layers = layers.merge(read(&working_directory.join(file), file)?);
        }
        if let Some(endpoint) = otlp_endpoint(environment) {
            layers = layers.merge(endpoint);
        }
        layers = layers.merge(variables(environment));
        if let Some(url) = database_url(environment) {
            layers = layers.merge(url);
        }
        let name = file.map(|file| file.display().to_string());
        let mut config: Self = layers.extract().map_err(|error| ConfigError::from_figment(&error, name.as_deref()))?;
        config.resolve(base_of(file, working_directory));
        config.validate()?;
        Ok(config)
    }

    /// Makes every path absolute, and gives those that were not set their place in the data folder.
    fn resolve(&mut self, base: PathBuf) {
        self.data_dir = base.join(&self.data_dir);
        self.objects.folder = place(&base, &self.objects.folder, &self.data_dir, "objects");
        self.ledger.folder = place(&base, &self.ledger.folder, &self.data_dir, "ledger");
        self.worker.workspace_root = place(&base, &self.worker.workspace_root, &self.data_dir, "workspaces");
        for path in [&mut self.drills.folder, &mut self.drills.findings_file, &mut self.drills.public_key] {
            *path = path.take().map(|path| base.join(path));
        }
        for agent in &mut self.worker.agents {
            agent.readable = agent.readable.iter().map(|path| base.join(path)).collect();
        }
        self.log.file = self.log.file.take().map(|file| base.join(file));
        self.base = base;
    }
}

fn place(base: &Path, set: &Path, data_dir: &Path, default: &str) -> PathBuf {
    if set.as_os_str().is_empty() { data_dir.join(default) } else { base.join(set) }
}

fn base_of(file: Option<&Path>, working_directory: &Path) -> PathBuf {
    let folder = file.and_then(Path::parent).unwrap_or(Path::new(""));
    // Not `join("")`, which would end the path in a slash.
    if folder.as_os_str().is_empty() { working_directory.to_owned() } else { working_directory.join(folder) }
}

/// `name` is the file as it was given, for errors.
fn read(path: &Path, name: &Path) -> Result<Layer, ConfigError> {
    let name = name.display().to_string();
    let what = format!("configuration file {name} was not read");
    let text = std::fs::read_to_string(path).map_err(|error| {
        ConfigError::new(&what, error.kind().to_string(), "correct the path given with --config, or create the file")
    })?;
    let table: toml::Table = toml::from_str(&text)
        .map_err(|error: toml::de::Error| ConfigError::new(&what, syntax(&text, &error), "correct that line"))?;
    match Value::serialize(table) {
        Ok(Value::Dict(_, values)) => Ok(Layer { name, values }),
        _ => Ok(Layer { name, values: Dict::new() }),
    }
}

/// What is wrong and in which line, without the line: it may hold a password.
fn syntax(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().lines().collect::<Vec<_>>().join(", ");
    match error.span() {
        Some(span) => {
            let before = text.as_bytes().get(..span.start).unwrap_or_default();
            format!("line {}: {message}", before.iter().filter(|byte| **byte == b'\n').count() + 1)
        }
        None => message,
    }
}

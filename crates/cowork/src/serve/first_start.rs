//! The first start of the embedded default: the system makes itself, and leaves its operator's token in a file.
//!
//! Only where no database is configured, and only in the process that runs the private cluster. Everywhere else a
//! system is made on purpose, with `cowork admin init`.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use web::ApiToken;

use crate::admin::init;
use crate::failure::Failure;
use crate::installation::Installation;

/// In the data folder; only the owner can read it.
pub(crate) const TOKEN_FILE: &str = "operator-token";
const ORG: &str = "default";
const EMAIL: &str = "operator@localhost";

/// Makes the system if this is the first start of an installation of its own.
pub(crate) async fn prepare(installation: &Installation) -> Result<(), Failure> {
    if !installation.database.is_private() || installation.is_made().await? {
        return Ok(());
    }
    // Before the system: a crash in between leaves a token that opens nothing, and not a system that nothing opens.
    let token = ApiToken::generate(installation.store.sources());
    keep(&installation.config.data_dir, &token).map_err(|error| {
        Failure::could_not("The operator's token can't be kept.", error, "Make the data folder writable.")
    })?;
    let made = init::make(installation, ORG, EMAIL, &token).await?;
    tracing::info!(system.id = %made.system_id, "made a new system; its operator's token is in the data folder");
    Ok(())
}

fn keep(folder: &Path, token: &ApiToken) -> std::io::Result<()> {
    let (draft, path) = (folder.join(format!("{TOKEN_FILE}.new")), folder.join(TOKEN_FILE));
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    writeln!(file, "{}", token.expose())?;
    file.sync_all()?;
    std::fs::rename(draft, path)
}

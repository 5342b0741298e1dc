//! A running cluster that we own.

use std::path::Path;
use std::process::Command;

use crate::account::Account;
use crate::binaries::Binaries;
use crate::claim::{Claim, ClaimError};
use crate::copied;
use crate::endpoint::{Endpoint, PORT, SUPERUSER};
use crate::error::{DatabaseError, StartError, StopError, io_error};
use crate::home::{self, Home};
use crate::init::ensure_data;
use crate::options::Options;
use crate::postmaster::{self, Postmaster};

/// A running cluster. Dropping it stops it, and removes it if it is temporary.
#[derive(Debug)]
pub struct Cluster {
    binaries: Binaries,
    home: Home,
    endpoint: Endpoint,
    server: Postmaster,
    temporary: bool,
    /// Let go of last: whoever gets it next finds nothing of ours running.
    _claim: Claim,
}

impl Cluster {
    /// Starts the cluster in `folder`, which keeps its data: made if it isn't there, restarted if an owner that was
    /// killed left it running.
    ///
    /// # Errors
    /// If another live process owns it, or it can't be made or started; the error quotes Postgres.
    pub fn start(binaries: &Binaries, folder: &Path, options: Options) -> Result<Self, StartError> {
        let (home, account) = Home::open(folder)?;
        let mut claim = claim(&home)?;
        postmaster::stop_leftover(&home.data(), false).map_err(|error| StartError::Leftover { pid: error.pid })?;
        if let Some(sockets) = claim.previous_sockets() {
            home::remove_sockets(home.path(), sockets);
        }
        ensure_data(binaries, &home, account, options)?;
        let sockets = home.make_sockets(&mut claim, account)?;
        let server = Postmaster::start(binaries, &home, &sockets, account, options)
            .inspect_err(|_| home::remove_sockets(home.path(), &sockets))?;
        let endpoint = Endpoint { sockets };
        Ok(Self { binaries: binaries.clone(), home, endpoint, server, temporary: false, _claim: claim })
    }

    /// Marks it for removal at its end.
    pub(crate) fn into_temporary(mut self) -> Self {
        self.temporary = true;
        self
    }

    /// A URL of `database` that both sqlx and Postgres' own tools accept. A new cluster has `postgres`.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        self.endpoint.url(database)
    }

    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The folder with the cluster's data and log.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.home.path()
    }

    /// The server's process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.server.pid()
    }

    /// Makes an empty database.
    ///
    /// # Errors
    /// If there is one of that name.
    pub fn create_database(&self, name: &str) -> Result<(), DatabaseError> {
        self.tool("createdb", "create", &["--template=template0"], name)
    }

    /// Drops a database, and the connections to it. No such database is fine.
    ///
    /// # Errors
    /// If Postgres refuses.
    pub fn drop_database(&self, name: &str) -> Result<(), DatabaseError> {
        self.tool("dropdb", "drop", &["--if-exists", "--force"], name)
    }

    fn tool(&self, tool: &str, action: &'static str, options: &[&str], name: &str) -> Result<(), DatabaseError> {
        let mut command = Command::new(self.binaries.tool(tool));
        command.env_clear().args(["-U", SUPERUSER, "-p", &PORT.to_string(), "-h"]).arg(self.endpoint.socket_folder());
        let output = command.args(options).arg("--").arg(name).output();
        let detail = match output {
            Ok(output) if output.status.success() => return Ok(()),
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => error.to_string(),
        };
        Err(DatabaseError { action, name: name.to_owned(), detail })
    }

    /// Copies its data at rest to `folder/data`, for [`Cluster::temporary_copy`].
    ///
    /// # Errors
    /// As [`Cluster::at_rest`], or if the copy can't be made.
    pub fn copy_at_rest(&mut self, folder: &Path, options: Options) -> Result<(), StartError> {
        std::fs::create_dir_all(folder).map_err(io_error("make", folder))?;
        self.at_rest(options, |data| copied::copy(data, &folder.join("data")))
    }

    /// Stops the server in an orderly way, does something with its data, and starts it again at the same place with
    /// `options`.
    ///
    /// # Errors
    /// If it does not stop or start, or if `work` fails. It may be stopped then.
    pub fn at_rest(
        &mut self,
        options: Options,
        work: impl FnOnce(&Path) -> std::io::Result<()>,
    ) -> Result<(), StartError> {
        let stopped = self.server.stop(false);
        stopped.map_err(|error| StartError::Leftover { pid: error.pid })?;
        let data = self.home.data();
        work(&data).map_err(io_error("work on", &data))?;
        let account = Account::choose(&self.home.data());
        self.server = Postmaster::start(&self.binaries, &self.home, &self.endpoint.sockets, account, options)?;
        Ok(())
    }

    /// Stops it in an orderly way: open transactions are rolled back, the rest is on disk.
    ///
    /// # Errors
    /// If its process does not end.
    pub fn stop(mut self) -> Result<(), StopError> {
        self.server.stop(false)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(error) = self.server.stop(self.temporary) {
            tracing::error!(postgres.pid = error.pid, "a Postgres did not stop");
        }
        home::remove_sockets(self.home.path(), &self.endpoint.sockets);
        if self.temporary
            && let Err(error) = std::fs::remove_dir_all(self.home.path())
        {
            tracing::warn!(%error, folder = %self.home.path().display(), "a temporary cluster's folder stays");
        }
    }
}

fn claim(home: &Home) -> Result<Claim, StartError> {
    Claim::take(home.path()).map_err(|error| match error {
        ClaimError::Held(pid) => StartError::Owned { home: home.path().to_path_buf(), pid },
        ClaimError::Io(source) => io_error("lock", home.path().join("owner"))(source),
    })
}

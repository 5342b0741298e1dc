//! Where a cluster can be reached.

use std::path::{Path, PathBuf};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::postmaster::PidFile;
use crate::process;

/// The one role that a new cluster has. Connections over the private socket need no password.
pub const SUPERUSER: &str = "cowork";

/// The port in the socket's name. Clusters never share a folder, so it can be the same for all.
pub(crate) const PORT: u16 = 5432;

/// The socket folder of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub(crate) sockets: PathBuf,
}

impl Endpoint {
    /// A URL of `database` that both sqlx and Postgres' own tools accept.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        self.url_as(SUPERUSER, database)
    }

    /// As [`Self::url`], for a cluster whose roles somebody else has made.
    #[must_use]
    pub fn url_as(&self, user: &str, database: &str) -> String {
        let host = utf8_percent_encode(&self.sockets.to_string_lossy(), NON_ALPHANUMERIC).to_string();
        let user = utf8_percent_encode(user, NON_ALPHANUMERIC);
        let database = utf8_percent_encode(database, NON_ALPHANUMERIC);
        format!("postgres://{user}@localhost/{database}?host={host}")
    }

    #[must_use]
    pub fn socket_folder(&self) -> &Path {
        &self.sockets
    }

    /// The socket itself, for whoever carries bytes to it.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.sockets.join(format!(".s.PGSQL.{PORT}"))
    }
}

/// The cluster in `home`, if one is up, whoever owns it. For a command that works beside a running `serve`.
#[must_use]
pub fn running(home: &Path) -> Option<Endpoint> {
    let data = home.canonicalize().ok()?.join("data");
    let file = PidFile::read(&data)?;
    (file.ready && process::serves(file.pid, &data)).then_some(Endpoint { sockets: file.sockets })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_survives_odd_names() {
        let endpoint = Endpoint { sockets: "/tmp/a b&c".into() };
        assert_eq!(endpoint.url("x/y?"), "postgres://cowork@localhost/x%2Fy%3F?host=%2Ftmp%2Fa%20b%26c");
    }
}

//! The server that test databases are made on.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use localpg::{Binaries, Cluster};

/// The URL of a server to use. `with-postgres` sets it, so that a whole test run shares one.
pub const SERVER_VARIABLE: &str = "COWORK_TEST_POSTGRES";

/// A server, for as long as this is held.
#[derive(Debug, Clone)]
pub(crate) enum Server {
    Given(String),
    Private(Arc<Cluster>),
}

/// Weak, since a static is never dropped: the last test of a process that holds it stops it.
static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());

impl Server {
    /// The given server, else a private one that all tests of this process share. Blocks while that one starts.
    #[expect(clippy::disallowed_methods, reason = "a test is told its server by whoever runs it")]
    pub(crate) fn get() -> Self {
        match std::env::var(SERVER_VARIABLE) {
            Ok(url) if !url.is_empty() => Self::Given(url),
            _ => Self::Private(shared()),
        }
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Self::Given(url) => url.clone(),
            Self::Private(cluster) => cluster.url("postgres"),
        }
    }
}

fn shared() -> Arc<Cluster> {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(cluster) = shared.upgrade() {
        return cluster;
    }
    let cluster = Arc::new(start());
    *shared = Arc::downgrade(&cluster);
    cluster
}

#[expect(clippy::disallowed_methods, reason = "a test finds its server programs as a shell would")]
fn start() -> Cluster {
    let binaries = Binaries::find(std::env::var_os("PATH").as_deref()).unwrap_or_else(|error| panic!("{error}"));
    let parent: PathBuf = std::env::temp_dir();
    let _ = localpg::sweep(&parent);
    Cluster::temporary(&binaries, &parent).unwrap_or_else(|error| panic!("{error}"))
}

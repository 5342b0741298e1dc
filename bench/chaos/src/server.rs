//! The Postgres of the run: a cluster that keeps what was committed, falls down, and is started again.
//!
//! Roles reach it by a [`Wire`]; whoever only looks connects to its socket, which no mishap of the wire touches.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use clock::Sources;
use localpg::{Binaries, Cluster, Options};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::task::spawn_blocking;

use crate::wire::{End, Share, Wire};

pub(crate) const DATABASE: &str = "cowork";
/// The name of Postgres on its wire.
const NAME: &str = "postgres";

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    binaries: Binaries,
    home: PathBuf,
    /// `None`: it is down.
    cluster: Arc<Mutex<Option<Cluster>>>,
    pub(crate) wire: Wire,
}

impl Server {
    pub(crate) async fn start(home: &Path) -> anyhow::Result<Self> {
        let binaries = Binaries::find(e2e::search_path().as_deref())?;
        let server = Self { binaries, home: home.to_owned(), cluster: Arc::default(), wire: Wire::start().await? };
        server.clone().blocking(Self::up).await?;
        server.clone().blocking(|server| server.with(|cluster| Ok(cluster.create_database(DATABASE)?))).await?;
        Ok(server)
    }

    /// By the wire, as roles go.
    pub(crate) fn url(&self) -> String {
        format!("postgres://{}@{}/{DATABASE}", localpg::SUPERUSER, self.wire.address())
    }

    /// A connection that goes past the wire.
    pub(crate) async fn connect(&self) -> anyhow::Result<PgConnection> {
        let url = self.with(|cluster| Ok(cluster.url(DATABASE)))?;
        Ok(url.parse::<PgConnectOptions>()?.connect().await?)
    }

    /// An immediate stop: what was not committed is gone, and the next start recovers. It stays down for `down`.
    pub(crate) async fn fall(&self, down: Duration) -> anyhow::Result<()> {
        self.clone().blocking(|server| server.down(true)).await?;
        tokio::time::sleep(down).await;
        self.clone().blocking(Self::up).await
    }

    /// Ends the connections of the database, all or some; how many.
    pub(crate) async fn terminate(&self, share: Share, dice: &Sources) -> anyhow::Result<usize> {
        let mut connection = self.connect().await?;
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = $1 AND pid <> pg_backend_pid() AND ($2 OR (pid + $3) % 2 = 0)";
        let odd = i32::try_from(dice.below(2))?;
        let ended = sqlx::query(sql).bind(DATABASE).bind(share == Share::All).bind(odd);
        let ended = ended.fetch_all(&mut connection).await?.len();
        connection.close().await?;
        Ok(ended)
    }

    /// For good, in an orderly way.
    pub(crate) async fn stop(&self) {
        let _ = self.clone().blocking(|server| server.down(false)).await;
    }

    fn up(&self) -> anyhow::Result<()> {
        let mut cluster = self.cluster.lock().unwrap_or_else(PoisonError::into_inner);
        let started = Cluster::start(&self.binaries, &self.home, Options::safe())?;
        self.wire.put(NAME, End::Socket(started.endpoint().socket()));
        *cluster = Some(started);
        Ok(())
    }

    fn down(&self, at_once: bool) -> anyhow::Result<()> {
        let mut cluster = self.cluster.lock().unwrap_or_else(PoisonError::into_inner);
        self.wire.take_away(NAME);
        let Some(cluster) = cluster.take() else { return Ok(()) };
        if at_once {
            kill(Pid::from_raw(cluster.pid()), Signal::SIGQUIT)?;
        }
        // Asks it to stop, which it does already then, and waits for its end.
        drop(cluster);
        Ok(())
    }

    /// Whoever starts or stops it holds it for a while: nobody waits for that.
    fn with<T>(&self, look: impl FnOnce(&Cluster) -> anyhow::Result<T>) -> anyhow::Result<T> {
        let cluster = self.cluster.try_lock().map_err(|_| anyhow::anyhow!("Postgres is being started or stopped"))?;
        look(cluster.as_ref().context("Postgres is down")?)
    }

    async fn blocking<T: Send + 'static>(
        self,
        work: impl FnOnce(&Self) -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        spawn_blocking(move || work(&self)).await?
    }
}

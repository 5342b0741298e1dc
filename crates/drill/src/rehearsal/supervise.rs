//! The roles of the rehearsal's source system, kept alive: a role that is killed is started again, as an operator's
//! process manager would. So the source's life can include `kill -9` of any role.
//!
//! Not here: the target's roles, which nobody restarts: there a role that dies is a fault.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clock::{Sources, Timestamp};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::processes::{Launcher, Role, StartError};

/// How long to wait when a role could not be started again.
const BEFORE_ANOTHER_TRY: Duration = Duration::from_millis(200);

/// One role that is kept alive.
#[derive(Debug)]
pub(crate) struct Supervised {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    disaster: CancellationToken,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    pid: AtomicU32,
    /// When its processes ended.
    ends: Mutex<Vec<Timestamp>>,
}

impl Supervised {
    /// Starts the role and keeps it alive. Its address stays the same across restarts.
    pub(crate) async fn start(
        launcher: &Launcher,
        name: &str,
        role: Role,
        sources: &Sources,
    ) -> Result<Self, StartError> {
        let address = free_address().map_err(|source| StartError::Spawn { name: name.to_owned(), source })?;
        Self::start_at(launcher, name, role, address, sources).await
    }

    /// As [`Self::start`], at an address that others know.
    pub(crate) async fn start_at(
        launcher: &Launcher,
        name: &str,
        role: Role,
        address: SocketAddr,
        sources: &Sources,
    ) -> Result<Self, StartError> {
        let shared = Arc::new(Shared::default());
        let disaster = CancellationToken::new();
        let (first_up, first) = oneshot::channel();
        let task = tokio::spawn(keep_alive(
            (launcher.clone(), sources.clone()),
            name.to_owned(),
            role,
            address,
            shared.clone(),
            disaster.clone(),
            first_up,
        ));
        match first.await {
            Ok(Ok(())) => Ok(Self { name: name.to_owned(), role, address, shared, disaster, task }),
            Ok(Err(error)) => Err(error),
            Err(_) => {
                Err(StartError::Spawn { name: name.to_owned(), source: std::io::Error::other("its supervisor ended") })
            }
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The pid of the process that is the role now.
    pub(crate) fn pid(&self) -> u32 {
        self.shared.pid.load(Ordering::Acquire)
    }

    /// When its processes ended so far. Each but the last was started again.
    pub(crate) fn ends(&self) -> Vec<Timestamp> {
        self.shared.ends.lock().expect("no holder of this lock can panic").clone()
    }

    /// `kill -9` of the process; the supervisor starts another.
    pub(crate) fn kill_process(&self) {
        if let Ok(pid) = i32::try_from(self.pid()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }

    /// `kill -9`, and nobody starts it again. Returns at once.
    pub(crate) fn doom(&self) {
        self.disaster.cancel();
        self.kill_process();
    }

    /// As [`Self::doom`], and waits until the process is gone.
    pub(crate) async fn destroy(mut self) {
        self.doom();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Supervised {
    /// Whoever ends what is left of an interrupted drill must not race somebody who starts it again.
    fn drop(&mut self) {
        self.disaster.cancel();
    }
}

async fn keep_alive(
    (launcher, sources): (Launcher, Sources),
    name: String,
    role: Role,
    address: SocketAddr,
    shared: Arc<Shared>,
    disaster: CancellationToken,
    first_up: oneshot::Sender<Result<(), StartError>>,
) {
    let listen = (format!("COWORK_{}__LISTEN", role.as_str().to_uppercase()), address.to_string());
    let mut first_up = Some(first_up);
    while !disaster.is_cancelled() {
        let started = launcher.start(&name, role, &[(&listen.0, listen.1.clone())]).await;
        let (process, failed) = match started {
            Ok(process) => (Some(process), None),
            Err(error) => (None, Some(error)),
        };
        if let Some(process) = &process {
            shared.pid.store(process.pid, Ordering::Release);
        }
        if let Some(first_up) = first_up.take() {
            let _ = first_up.send(failed.map_or(Ok(()), Err));
            if process.is_none() {
                return;
            }
        }
        let Some(mut process) = process else {
            tokio::time::sleep(BEFORE_ANOTHER_TRY).await;
            continue;
        };
        tokio::select! {
            () = disaster.cancelled() => {}
            () = process.ended() => {
                shared.ends.lock().expect("no holder of this lock can panic").push(sources.now());
            }
        }
        process.kill().await;
    }
}

/// An address that is free now. Another process may take it before the role does; then the role's start fails and says
/// so.
fn free_address() -> std::io::Result<SocketAddr> {
    std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()
}

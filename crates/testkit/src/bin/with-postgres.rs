//! Runs a command beside a private Postgres that ends with it.
//!
//! `with-postgres -- cargo test` gives the command `COWORK_TEST_POSTGRES`; with `--database NAME` also `DATABASE_URL`,
//! of a fresh empty database. The exit code is the command's.
#![expect(clippy::disallowed_methods, reason = "a program at the top: it reads its own surroundings")]

use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitCode;

use clap::Parser;
use localpg::{Binaries, Cluster};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What shells answer for a command that can't be run.
const NOT_RUN: u8 = 127;

#[derive(Parser)]
#[command(about = "Run a command beside a private Postgres that ends with it.")]
struct Arguments {
    /// Make an empty database of this name, and give its address to the command as DATABASE_URL.
    #[arg(long, value_name = "NAME")]
    database: Option<String>,
    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments).await {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("with-postgres could not {error}");
            ExitCode::from(NOT_RUN)
        }
    }
}

async fn run(arguments: &Arguments) -> Result<u8, Failure> {
    // Listened to before there is anything to clean up: an early interrupt must not leave a server behind.
    let mut signals = Signals::listen()?;
    let (cluster, interrupted) = signals.notice_during(tokio::task::spawn_blocking(start)).await?;
    if let Some(signal) = interrupted {
        return Ok(signal_code(signal as i32));
    }
    let child =
        command(arguments, &cluster)?.spawn().map_err(|error| format!("run {}: {error}", program(arguments)))?;
    Ok(signals.wait(child).await?)
}

fn start() -> Result<Cluster, Failure> {
    let binaries = Binaries::find(std::env::var_os("PATH").as_deref())?;
    let parent = std::env::temp_dir();
    for (folder, detail) in localpg::sweep(&parent).stuck {
        eprintln!("with-postgres could not sweep {}: {detail}", folder.display());
    }
    Ok(Cluster::temporary(&binaries, &parent)?)
}

fn command(arguments: &Arguments, cluster: &Cluster) -> Result<Command, Failure> {
    let mut command = Command::new(&arguments.command[0]);
    command.args(&arguments.command[1..]).env(testkit::SERVER_VARIABLE, cluster.url("postgres"));
    if let Some(name) = &arguments.database {
        cluster.create_database(name)?;
        command.env("DATABASE_URL", cluster.url(name));
    }
    Ok(command)
}

fn program(arguments: &Arguments) -> std::borrow::Cow<'_, str> {
    arguments.command[0].to_string_lossy()
}

struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn any(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::SIGINT,
            _ = self.terminate.recv() => Signal::SIGTERM,
            _ = self.hangup.recv() => Signal::SIGHUP,
        }
    }

    /// A server that is being made is first finished, then stopped. Returns the signal that came meanwhile.
    async fn notice_during(
        &mut self,
        mut starting: JoinHandle<Result<Cluster, Failure>>,
    ) -> Result<(Cluster, Option<Signal>), Failure> {
        let mut noticed = None;
        loop {
            tokio::select! {
                started = &mut starting => return Ok((started??, noticed)),
                signal = self.any() => noticed = Some(signal),
            }
        }
    }

    /// Waits for the command, passing on what we are told.
    async fn wait(&mut self, mut child: Child) -> std::io::Result<u8> {
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw);
        loop {
            tokio::select! {
                status = child.wait() => return Ok(code(status?)),
                signal = self.any() => pass_on(pid, signal),
            }
        }
    }
}

/// A terminal interrupts the command itself, which may take a second one as a wish to end at once.
fn pass_on(pid: Option<Pid>, signal: Signal) {
    let is_told_already = signal == Signal::SIGINT && std::io::stdin().is_terminal();
    if let Some(pid) = pid.filter(|_| !is_told_already) {
        // Nobody there: it has just ended, which the wait sees.
        let _ = kill(pid, signal);
    }
}

/// As a shell would report it.
fn code(status: std::process::ExitStatus) -> u8 {
    let code = status.code().map(|code| u8::try_from(code).unwrap_or(1));
    code.unwrap_or_else(|| signal_code(status.signal().unwrap_or(0)))
}

fn signal_code(signal: i32) -> u8 {
    u8::try_from(128 + signal).unwrap_or(1)
}

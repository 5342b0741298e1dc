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

async fn run(arguments: &Arguments) -> Result<u8, Box<dyn std::error::Error>> {
    // Listened to before there is anything to clean up: an early interrupt must not leave a server behind.
    let mut signals = Signals::listen()?;
    let cluster = start()?;
    let mut command = Command::new(&arguments.command[0]);
    command.args(&arguments.command[1..]).env(testkit::SERVER_VARIABLE, cluster.url("postgres"));
    if let Some(name) = &arguments.database {
        cluster.create_database(name)?;
        command.env("DATABASE_URL", cluster.url(name));
    }
    let program = arguments.command[0].to_string_lossy();
    let child = command.spawn().map_err(|error| format!("run {program}: {error}"))?;
    Ok(signals.wait(child).await?)
}

fn start() -> Result<Cluster, Box<dyn std::error::Error>> {
    let binaries = Binaries::find(std::env::var_os("PATH").as_deref())?;
    let parent = std::env::temp_dir();
    for (folder, detail) in localpg::sweep(&parent).stuck {
        eprintln!("with-postgres could not sweep {}: {detail}", folder.display());
    }
    Ok(Cluster::temporary(&binaries, &parent)?)
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

    /// Waits for the command, passing on what we are told.
    async fn wait(&mut self, mut child: Child) -> std::io::Result<u8> {
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw);
        let pass_on = |signal| pid.map(|pid| kill(pid, signal));
        loop {
            tokio::select! {
                status = child.wait() => return Ok(code(status?)),
                _ = self.terminate.recv() => { pass_on(Signal::SIGTERM); }
                _ = self.hangup.recv() => { pass_on(Signal::SIGHUP); }
                // A terminal interrupts the command itself, which may take a second one as a wish to end at once.
                _ = self.interrupt.recv() => if !std::io::stdin().is_terminal() { pass_on(Signal::SIGINT); },
            }
        }
    }
}

/// As a shell would report it.
fn code(status: std::process::ExitStatus) -> u8 {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    u8::try_from(code).unwrap_or(1)
}

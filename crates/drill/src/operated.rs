//! A role that the operator's own commands start, look at and stop.
//!
//! Each command is run by `sh`, in a process group of its own, for a limited time. It inherits nothing but `PATH`, what the
//! plan names, and what the drill says. What it prints goes to a file beside the logs of the drill's own roles, up to a
//! bound; row 10 scans it like any other log. A process that it leaves on this machine carries the drill's mark.
//!
//! Not here: roles that the drill runs itself (`processes`), what the commands are (`plan`).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use crate::plan::{RoleCommands, Shell};

/// Of what one command prints, more is not kept.
const KEPT_MAX: u64 = 64 << 20;
/// Of what one command printed, what is looked at: its end.
const LOOKED_AT: usize = 8 * 1024;
/// Between two looks at whether an instance is ready.
const BETWEEN: Duration = Duration::from_millis(200);
/// For the output of a command that has ended. What it left running may hold its output open for ever.
const REST: Duration = Duration::from_secs(1);

/// The commands of every role, with what is the same for all of them.
#[derive(Debug, Clone)]
pub(crate) struct Commands {
    /// By role.
    pub(crate) roles: BTreeMap<String, RoleCommands>,
    /// The whole environment, but for role and instance.
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) logs: PathBuf,
}

/// An instance that was started. Stopped when dropped, if nobody did before.
#[derive(Debug)]
pub(crate) struct Operated {
    name: String,
    commands: RoleCommands,
    environment: BTreeMap<String, String>,
    logs: PathBuf,
    stopped: bool,
}

/// What a command said.
#[derive(Debug)]
struct Said {
    succeeded: bool,
    stdout: String,
    last_words: String,
}

impl Commands {
    /// The instance `name` of `role`, which nobody has started yet. `None`: there are no commands for it.
    pub(crate) fn instance(&self, name: &str, role: &str) -> Option<Operated> {
        let mut environment = self.environment.clone();
        environment.insert("COWORK_DRILL_ROLE".to_owned(), role.to_owned());
        environment.insert("COWORK_DRILL_INSTANCE".to_owned(), name.to_owned());
        let commands = self.roles.get(role)?.clone();
        // Nothing to stop before it was started.
        Some(Operated { name: name.to_owned(), commands, environment, logs: self.logs.clone(), stopped: true })
    }
}

impl Operated {
    /// Starts it and waits until it is ready. Gives back where it answers.
    pub(crate) async fn start(&mut self) -> anyhow::Result<String> {
        let deadline = tokio::time::Instant::now() + self.limit();
        // A start that fails or hangs may have left something.
        self.stopped = false;
        let start = self.commands.start.clone();
        let said = self.run("start", &start).await?;
        if !said.succeeded {
            bail!("its start command failed: {}", said.last_words);
        }
        loop {
            let seen = self.status().await?;
            if seen.succeeded {
                let told = seen.stdout.lines().rev().find(|line| line.starts_with("http")).map(str::trim);
                let url = told.or(self.commands.url.as_ref().map(crate::plan::Name::as_str));
                let url =
                    url.context("it is ready, and neither its status command nor the plan says where it answers")?;
                return Ok(url.trim_end_matches('/').to_owned());
            }
            if tokio::time::Instant::now() > deadline {
                bail!("it was not ready within {} s: {}", self.limit().as_secs(), seen.last_words);
            }
            tokio::time::sleep(BETWEEN).await;
        }
    }

    /// Whether it is there and ready.
    pub(crate) async fn alive(&self) -> bool {
        self.status().await.is_ok_and(|said| said.succeeded)
    }

    async fn status(&self) -> anyhow::Result<Said> {
        self.run("status", &self.commands.status).await
    }

    /// `true` if its command says that it stopped well.
    pub(crate) async fn stop(mut self) -> bool {
        self.stopped = true;
        self.run("stop", &self.commands.stop).await.is_ok_and(|said| said.succeeded)
    }

    /// Whether it can be made to sleep.
    pub(crate) fn can_sleep(&self) -> bool {
        self.commands.suspend.is_some() && self.commands.resume.is_some()
    }

    /// Makes it sleep as it stands, or wakes it.
    pub(crate) async fn suspend(&self, sleep: bool) -> anyhow::Result<()> {
        let (verb, command) =
            if sleep { ("suspend", &self.commands.suspend) } else { ("resume", &self.commands.resume) };
        let command = command.as_ref().with_context(|| format!("the plan has no command to {verb} {}", self.name))?;
        let said = self.run(verb, command).await?;
        anyhow::ensure!(said.succeeded, "the command to {verb} {} failed: {}", self.name, said.last_words);
        Ok(())
    }

    /// Has its log printed, where the scanner finds it.
    pub(crate) async fn fetch_log(&self) -> anyhow::Result<()> {
        let command =
            self.commands.logs.as_ref().with_context(|| format!("the plan says not where {} logs", self.name))?;
        let said = self.run("logs", command).await?;
        anyhow::ensure!(said.succeeded, "the log of {} could not be read: {}", self.name, said.last_words);
        Ok(())
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(self.commands.timeout_s.into())
    }

    fn command(&self, shell: &Shell) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", shell.as_str()]).env_clear().envs(&self.environment).current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        command
    }

    /// Runs one of its commands to its end; one that takes too long is ended, with whatever it has started.
    async fn run(&self, verb: &str, shell: &Shell) -> anyhow::Result<Said> {
        let mut child = self.command(shell).spawn().context("sh can't be started")?;
        let group = child.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw);
        let keep = |from: &str| self.logs.join(format!("{}.{verb}.{from}.log", self.name));
        let out = tokio::spawn(keep_output(child.stdout.take(), keep("out")));
        let err = tokio::spawn(keep_output(child.stderr.take(), keep("err")));
        let Ok(ended) = tokio::time::timeout(self.limit(), child.wait()).await else {
            // The shell alone would leave its children.
            let _ = group.map(|group| killpg(group, Signal::SIGKILL));
            let _ = child.wait().await;
            bail!("its {verb} command took longer than {} s", self.limit().as_secs());
        };
        // Whoever was started in the background holds the pipes; then what was said so far is in the files.
        let _ = tokio::time::timeout(REST, async { tokio::join!(out, err) }).await;
        let (stdout, stderr) = (end_of(&keep("out")), end_of(&keep("err")));
        let last = |text: &str| text.lines().rev().find(|line| !line.trim().is_empty()).map(str::to_owned);
        let last_words = last(&stderr).or_else(|| last(&stdout)).unwrap_or_else(|| "it said nothing".to_owned());
        let last_words = last_words.chars().take(500).collect();
        Ok(Said { succeeded: ended.context("its end could not be awaited")?.success(), stdout, last_words })
    }
}

impl Drop for Operated {
    /// A drill that ends early stops what it had started.
    fn drop(&mut self) {
        if self.stopped {
            return;
        }
        let mut command = std::process::Command::new("timeout");
        command.args(["--kill-after=1", &self.commands.timeout_s.to_string(), "sh", "-c", self.commands.stop.as_str()]);
        command.env_clear().envs(&self.environment).current_dir("/");
        // There is nobody left to tell.
        let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

/// Writes what is read into a new file, up to a bound, and reads on to the end.
async fn keep_output(from: Option<impl AsyncRead + Unpin>, path: PathBuf) {
    let (Some(mut from), Ok(mut file)) = (from, tokio::fs::File::create(path).await) else { return };
    let (mut buffer, mut room) = (vec![0; 8 * 1024], KEPT_MAX);
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let kept = read.min(usize::try_from(room).unwrap_or(usize::MAX));
        room -= kept as u64;
        if file.write_all(&buffer[..kept]).await.is_err() || file.flush().await.is_err() {
            return;
        }
    }
}

fn end_of(path: &std::path::Path) -> String {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(path)?;
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(size.saturating_sub(LOOKED_AT as u64)))?;
        let mut end = Vec::new();
        file.take(LOOKED_AT as u64).read_to_end(&mut end)?;
        Ok(end)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An instance whose commands are shell scripts. `$LOGS` is a folder of the test's own.
    fn instance(logs: &std::path::Path, start: &str, status: &str, more: &str) -> Operated {
        let text = format!("start = {start:?}\nstatus = {status:?}\nstop = \"touch $LOGS/stopped\"\n{more}");
        let commands: RoleCommands = toml::from_str(&text).unwrap();
        let path = "/usr/local/bin:/usr/bin:/bin".to_owned();
        let environment = [("PATH".to_owned(), path), ("LOGS".to_owned(), logs.display().to_string())];
        let commands = Commands {
            roles: [("web".to_owned(), commands)].into(),
            environment: environment.into(),
            logs: logs.to_owned(),
        };
        assert!(commands.instance("web", "worker").is_none());
        commands.instance("web", "web").unwrap()
    }

    #[tokio::test]
    async fn an_instance_is_up_when_its_status_says_so_and_says_where() {
        let folder = tempfile::tempdir().unwrap();
        let start = "echo $COWORK_DRILL_ROLE/$COWORK_DRILL_INSTANCE > $LOGS/who; (sleep 600 & echo $! > $LOGS/pid)";
        let mut web = instance(folder.path(), start, "kill -0 $(cat $LOGS/pid) && echo http://127.0.0.1:7/", "");
        assert_eq!(web.start().await.unwrap(), "http://127.0.0.1:7");
        assert_eq!(std::fs::read_to_string(folder.path().join("who")).unwrap(), "web/web\n");
        assert!(web.alive().await);
        let pid: i32 = std::fs::read_to_string(folder.path().join("pid")).unwrap().trim().parse().unwrap();
        nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        assert!(
            super::super::checks::eventually(Duration::from_secs(20), async || (!web.alive().await).then_some(()))
                .await
                .is_some()
        );
        assert!(web.stop().await);
        assert!(folder.path().join("stopped").exists());
    }

    #[tokio::test]
    async fn a_command_that_fails_is_told_with_its_last_words_and_what_it_left_is_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let mut web = instance(folder.path(), "echo out; echo no such host >&2; exit 3", "true", "");
        let error = web.start().await.unwrap_err().to_string();
        assert_eq!(error, "its start command failed: no such host");
        drop(web);
        assert!(folder.path().join("stopped").exists());
    }

    #[tokio::test]
    async fn a_command_that_hangs_is_ended_with_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let start = "sh -c 'echo $$ > $LOGS/pid; exec sleep 600'";
        let mut web = instance(folder.path(), start, "true", "timeout_s = 1");
        let error = web.start().await.unwrap_err().to_string();
        assert_eq!(error, "its start command took longer than 1 s");
        let pid: u32 = std::fs::read_to_string(folder.path().join("pid")).unwrap().trim().parse().unwrap();
        let gone = || !std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains("sleep"));
        assert!(
            super::super::checks::eventually(Duration::from_secs(20), async || gone().then_some(())).await.is_some()
        );
    }

    #[tokio::test]
    async fn what_a_command_says_is_bounded_where_it_is_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let mut web = instance(folder.path(), "yes | head -c 300000; echo the end", "true", "url = \"http://u\"");
        assert_eq!(web.start().await.unwrap(), "http://u");
        let end = end_of(&folder.path().join("web.start.out.log"));
        assert!(end.len() <= LOOKED_AT && end.ends_with("the end\n"));
        assert!(web.suspend(true).await.unwrap_err().to_string().contains("no command to suspend"));
        assert!(web.fetch_log().await.is_err());
        web.stop().await;
    }
}

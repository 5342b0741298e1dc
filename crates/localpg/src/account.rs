//! Who Postgres runs as.
//!
//! It refuses to run as root. So root hands it to an account without privileges: the one that owns the data already,
//! else `postgres`, else `nobody`. Anybody else runs it as themselves. Root and that account reach the socket.

use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown, lchown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::{User, getegid, geteuid};

use crate::error::StartError;

/// An account, and whether it has to be switched to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Account {
    uid: u32,
    gid: u32,
    switch: bool,
}

impl Account {
    /// The account for the data folder `data`, which need not exist yet.
    pub(crate) fn choose(data: &Path) -> Self {
        if !geteuid().is_root() {
            return Self { uid: geteuid().as_raw(), gid: getegid().as_raw(), switch: false };
        }
        let owner = std::fs::metadata(data).ok().map(|meta| (meta.uid(), meta.gid())).filter(|(uid, _)| *uid != 0);
        let (uid, gid) = owner.unwrap_or_else(unprivileged);
        Self { uid, gid, switch: true }
    }

    /// Makes `command` run as this account, and without our environment: `PGPORT` and its like would change it.
    pub(crate) fn run(self, command: &mut Command) -> &mut Command {
        command.env_clear().env("LC_ALL", "C").env("PATH", "/usr/bin:/bin").current_dir("/").stdin(Stdio::null());
        if self.switch {
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    /// Makes a folder that this account alone may use.
    pub(crate) fn create_folder(self, folder: &Path) -> io::Result<()> {
        std::fs::DirBuilder::new().mode(0o700).create(folder)?;
        if self.switch { chown(folder, Some(self.uid), Some(self.gid)) } else { Ok(()) }
    }

    /// Gives this account everything below `folder`, and nobody else a right to it.
    pub(crate) fn own(self, folder: &Path) -> io::Result<()> {
        let facts = std::fs::symlink_metadata(folder)?;
        if self.switch {
            lchown(folder, Some(self.uid), Some(self.gid))?;
        }
        if !facts.is_dir() {
            return Ok(());
        }
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))?;
        std::fs::read_dir(folder)?.try_for_each(|entry| self.own(&entry?.path()))
    }

    /// Lets this account pass through `home`, which stays ours.
    pub(crate) fn admit(self, home: &Path) -> io::Result<()> {
        let mode = if self.switch { 0o711 } else { 0o700 };
        std::fs::set_permissions(home, std::fs::Permissions::from_mode(mode))
    }

    /// # Errors
    /// `NotReachable`, naming the outermost folder that keeps this account out.
    pub(crate) fn reach(self, folder: &Path) -> Result<(), StartError> {
        if !self.switch || self.enters(folder) {
            return Ok(());
        }
        let mut way: Vec<PathBuf> = folder.ancestors().map(Path::to_path_buf).collect();
        way.reverse();
        let blocked = way.into_iter().find(|step| !self.enters(step)).unwrap_or_else(|| folder.to_path_buf());
        Err(StartError::NotReachable { folder: blocked, uid: self.uid })
    }

    /// Asks the kernel, which knows about lists of access rights and mounts; mode bits would tell half.
    fn enters(self, folder: &Path) -> bool {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "cd -- \"$1\"", "sh"]).arg(folder).stdout(Stdio::null()).stderr(Stdio::null());
        self.run(&mut command).status().is_ok_and(|status| status.success())
    }
}

fn unprivileged() -> (u32, u32) {
    let named = ["postgres", "nobody"].into_iter().find_map(|name| User::from_name(name).ok().flatten());
    named.map_or((65534, 65534), |user| (user.uid.as_raw(), user.gid.as_raw()))
}

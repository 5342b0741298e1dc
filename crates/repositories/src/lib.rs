//! The files of one commit of a git repository elsewhere, packed for a workspace.
//!
//! The system's own `git` fetches them, and is told nothing but what stands here: no configuration of the machine's, no hooks, no
//! filters, no submodules, no helpers and no prompt; one protocol, no redirect, one commit without its history; and it connects to the
//! address that was judged, whatever the name leads to a moment later. Its time, memory and files are bounded, and it is ended with
//! everything that it started.
//!
//! A credential is in the environment of that one process, and nowhere else.
//!
//! Not promised: that the files are those of a checkout. What the repository leaves out of its own archives (`export-ignore`) is not
//! there, and large files that are kept elsewhere (LFS) are their pointers.
//!
//! Not here: which files a workspace gets (`projects`), which addresses may be called (`domain::egress`), who may ask (`web`).

mod address;
mod git;
mod pin;
mod said;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use domain::egress::Egress;
use projects::{ARCHIVE_MAX, PackError, Packed, UNPACKED_MAX, pack_tar};
use secrecy::SecretString;
use tokio::sync::Semaphore;

pub use crate::address::{Address, BadAddress, BadReference, Reference};
use crate::git::{Git, Limits};

/// What a fetch may take, with the wait for one that is going on.
const WITHIN: Duration = Duration::from_secs(60);
/// Bytes around the files of a tar.
const AROUND: u64 = 64 << 20;

/// The way to repositories elsewhere. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Repositories(Option<Arc<Way>>);

#[derive(Debug)]
struct Way {
    egress: Egress,
    folder: PathBuf,
    within: Duration,
    /// One fetch of a process at a time: it takes memory and disk.
    alone: Semaphore,
}

/// What is to be fetched.
#[derive(Debug)]
pub struct Wanted {
    pub address: Address,
    pub reference: Reference,
    pub credential: Option<Credential>,
}

/// Whom the server lets in.
#[derive(Debug)]
pub struct Credential {
    pub username: String,
    pub secret: SecretString,
}

/// What was fetched.
#[derive(Debug)]
pub struct Fetched {
    /// The commit that the reference led to: 40 or 64 hexadecimal digits.
    pub commit: String,
    pub packed: Packed,
}

/// Why nothing was fetched. For whoever asked; none of it is secret.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("a copy made for a drill calls nobody")]
    Drill,
    #[error(
        "the address leads to where repositories are not fetched from; take one that is public and has https, or have an operator \
         allow its network in web.repository_networks"
    )]
    NotCalled,
    #[error("its name leads nowhere; look at the address")]
    NoSuchHost,
    #[error("nobody answers there as a git server does; look at the address, and ask again")]
    Unreachable,
    #[error("the server leads to another address, which is not followed; take that one")]
    Redirected,
    #[error("there is no repository, or it is not shown without a credential; look at both")]
    NoRepository,
    #[error("the server does not take the credential; bring one that may read the repository")]
    Unauthorised,
    #[error("it has no such branch, tag or commit, or the server does not give it out")]
    NoReference,
    #[error(
        "it is larger than 64 MiB without its history, or a part of it than may be; upload an archive of what is needed"
    )]
    TooLarge,
    #[error("it was not there within a minute; ask again, or upload an archive")]
    TooLong,
    #[error("git refused it: {0}")]
    Refused(String),
    #[error("what it holds can't be taken")]
    Pack(#[source] PackError),
    /// Not the repository's fault.
    #[error("git can't be run here: {0}; install Debian's package git (2.37 or newer) where web runs")]
    NoGit(String),
}

impl Repositories {
    /// Nothing is fetched: for a copy that is made for a drill.
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }

    /// By https, from public addresses and from the networks that `egress` allows; from those by http, too. What is fetched is in a
    /// folder below `folder` until it is packed.
    #[must_use]
    pub fn over(egress: Egress, folder: PathBuf) -> Self {
        Self::within(egress, folder, WITHIN)
    }

    /// With another time for one fetch.
    #[must_use]
    pub fn within(egress: Egress, folder: PathBuf, within: Duration) -> Self {
        Self(Some(Arc::new(Way { egress, folder, within, alone: Semaphore::new(1) })))
    }

    /// # Errors
    /// Then nothing is left of it. A fetch that is given up is ended.
    pub async fn fetch(&self, wanted: &Wanted) -> Result<Fetched, FetchError> {
        let way = self.0.as_ref().ok_or(FetchError::Drill)?;
        tokio::time::timeout(way.within, way.fetch(wanted)).await.unwrap_or(Err(FetchError::TooLong))
    }
}

impl Way {
    async fn fetch(&self, wanted: &Wanted) -> Result<Fetched, FetchError> {
        let _alone = self.alone.acquire().await.map_err(|error| FetchError::NoGit(error.to_string()))?;
        let pinned = pin::pin(&self.egress, &wanted.address).await?;
        let git = Git::begin(&self.folder, &wanted.address, pinned).await?;
        git.must_pin().await?;
        git.run(&["init", "--quiet", "--bare", "--template="], None, &Limits::of(ARCHIVE_MAX as u64)).await?;
        let (url, reference) = (wanted.address.url().as_str(), wanted.reference.as_str());
        let fetch = [
            "fetch",
            "--quiet",
            "--depth=1",
            "--no-tags",
            "--no-recurse-submodules",
            "--no-auto-maintenance",
            "--",
            url,
            reference,
        ];
        git.run(&fetch, wanted.credential.as_ref(), &Limits::of(ARCHIVE_MAX as u64)).await?;
        let commit = ["rev-parse", "--verify", "--quiet", "--end-of-options", "FETCH_HEAD^{commit}"];
        let commit = git.run(&commit, None, &Limits::of(ARCHIVE_MAX as u64)).await?.trim().to_owned();
        if !matches!(commit.len(), 40 | 64) || !commit.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(FetchError::NoReference);
        }
        let tar = git.file("tar");
        let archive = ["archive", "--format=tar", &format!("--output={}", tar.display()), &commit];
        git.run(&archive, None, &Limits::of(UNPACKED_MAX + AROUND)).await?;
        // `git` lives on until its folder is no longer needed.
        let packed = tokio::task::spawn_blocking(move || {
            let tar = std::fs::File::open(git.file("tar")).map_err(PackError::from)?;
            pack_tar(tar)
        });
        let packed = packed.await.map_err(|error| FetchError::NoGit(error.to_string()))?;
        Ok(Fetched { commit, packed: packed.map_err(FetchError::Pack)? })
    }
}

//! What can go wrong, by operation. Each says what happened, the detail, and what to do.

use std::io;
use std::path::PathBuf;

/// A cluster did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(
        "reach {folder} as the account that Postgres runs as (uid {uid}); Postgres refuses to run as root, so that \
         account must be able to enter every folder above its own; `chmod o+x {folder}`, or choose a folder elsewhere"
    )]
    NotReachable { folder: PathBuf, uid: u32 },
    #[error(
        "take over the cluster in {home}; process {pid} owns it and is alive; stop that one, or choose another folder"
    )]
    Owned { home: PathBuf, pid: String },
    #[error(
        "open the data in {data}; it was written by Postgres {found} and this is {expected}; install Postgres \
         {found}, or upgrade the data with pg_upgrade"
    )]
    OtherVersion { data: PathBuf, found: String, expected: String },
    #[error("make a new cluster in {home}; initdb said: {tail}; mend that and start again")]
    Init { home: PathBuf, tail: String },
    #[error("start Postgres in {home}; the end of its log: {tail}; the whole log is {home}/log")]
    Server { home: PathBuf, tail: String },
    #[error("stop the Postgres that an earlier start left behind; process {pid} does not end; end it by hand")]
    Leftover { pid: i32 },
    #[error("{action} {path}")]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// A cluster did not stop.
#[derive(Debug, thiserror::Error)]
#[error("stop Postgres; process {pid} ignored every signal; end it by hand")]
pub struct StopError {
    pub pid: i32,
}

/// A database was not made or not dropped.
#[derive(Debug, thiserror::Error)]
#[error("{action} the database {name}; Postgres said: {detail}")]
pub struct DatabaseError {
    pub(crate) action: &'static str,
    pub(crate) name: String,
    pub(crate) detail: String,
}

/// Adds to an I/O error what was being done.
pub(crate) fn io_error(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> StartError {
    let path = path.into();
    move |source| StartError::Io { action, path, source }
}

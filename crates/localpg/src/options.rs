//! What a caller may choose about a cluster.

use std::time::Duration;

/// What a cluster keeps when the machine loses power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Everything that was committed.
    Safe,
    /// Nothing: for data that is thrown away anyway. A crash of Postgres alone loses the last commits, too.
    Fast,
}

/// Settings of one start. They do not stick: the next start's win.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    pub durability: Durability,
    pub max_connections: u32,
    /// How long the server may take until it takes connections.
    pub start_limit: Duration,
}

/// Replaying a long log after a crash takes its time, and a server that ends is noticed at once anyway.
const START_LIMIT: Duration = Duration::from_secs(300);

impl Options {
    /// For data that matters.
    #[must_use]
    pub fn safe() -> Self {
        Self { durability: Durability::Safe, max_connections: 200, start_limit: START_LIMIT }
    }

    /// For tests and rehearsals.
    #[must_use]
    pub fn fast() -> Self {
        Self { durability: Durability::Fast, max_connections: 300, start_limit: START_LIMIT }
    }

    /// As `name=value` for the server's `-c`, which wins over its files.
    pub(crate) fn settings(self) -> Vec<String> {
        let mut settings = vec![
            format!("max_connections={}", self.max_connections),
            "listen_addresses=".to_owned(),
            "unix_socket_permissions=0700".to_owned(),
            "logging_collector=off".to_owned(),
            "log_destination=stderr".to_owned(),
            "log_timezone=UTC".to_owned(),
            "timezone=UTC".to_owned(),
        ];
        if self.durability == Durability::Fast {
            settings.extend(["fsync=off", "synchronous_commit=off", "full_page_writes=off"].map(str::to_owned));
        }
        settings
    }
}

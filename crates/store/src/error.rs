//! What can go wrong with any statement. Operations whose callers can do something about more than this have an
//! error type of their own, in their noun's file.

/// The database can't be used at all.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("the database URL can't be read")]
    Url(#[source] sqlx::Error),
    #[error("the database does not answer")]
    Unreachable(#[source] sqlx::Error),
    #[error("the wall between tenants can't be raised")]
    Wall(#[source] sqlx::Error),
    #[error("the schema can't be brought up to date")]
    Migrate(#[source] sqlx::migrate::MigrateError),
}

/// A statement did not do what it was for.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the database did not carry out {statement}")]
    Database {
        statement: &'static str,
        #[source]
        source: sqlx::Error,
    },
    /// Corruption or version skew; never "not found".
    #[error("the row {id} of {table} can't be read: column {column}")]
    Unreadable {
        table: &'static str,
        column: &'static str,
        id: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The lease ran out, or a restore began a new generation: somebody else may be at work. Nothing was written.
    #[error("the lease is lost: its fencing token is no longer current")]
    LeaseLost,
    /// What comes next for this reader is gone; the base at `earliest` says what it added up to.
    #[error("the session's events before {earliest} were compacted")]
    Compacted { earliest: i64 },
}

impl StoreError {
    /// For `map_err`: names the statement that failed.
    pub(crate) fn during(statement: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Database { statement, source }
    }

    /// For `map_err`: names the value that can't be read.
    #[expect(clippy::needless_pass_by_value, reason = "callers hand over an id or its text")]
    pub(crate) fn unreadable<E>(table: &'static str, column: &'static str, id: impl ToString) -> impl FnOnce(E) -> Self
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let id = id.to_string();
        move |source| Self::Unreadable { table, column, id, source: Box::new(source) }
    }
}

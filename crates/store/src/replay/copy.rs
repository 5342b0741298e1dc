//! Rows in the binary format of `COPY ... FROM STDIN (FORMAT binary)`, which the server takes in as they are; arrays it has to
//! take apart first.
//!
//! The columns' types are those of the table, in its order; the server refuses a row that has another number of fields
//! or a field of another length.
//!
//! Not here: which columns a table has (`note`).

use clock::Timestamp;
use sqlx::PgConnection;
use uuid::Uuid;

/// Signature, flags, and the length of an extension that there is none of.
const HEAD: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const END: i16 = -1;
const NULL: i32 = -1;
/// Postgres counts from 2000 on.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// Rows for one table.
pub(super) struct Rows(Vec<u8>);

impl Rows {
    /// `bytes`: about how much a row takes.
    pub(super) fn with_capacity(rows: usize, bytes: usize) -> Self {
        let mut all = Vec::with_capacity(HEAD.len() + rows * bytes);
        all.extend_from_slice(HEAD);
        Self(all)
    }

    /// Begins a row. As many fields have to follow.
    pub(super) fn row(&mut self, fields: i16) -> &mut Self {
        self.0.extend_from_slice(&fields.to_be_bytes());
        self
    }

    pub(super) fn uuid(&mut self, value: impl Into<Uuid>) -> &mut Self {
        self.bytes(value.into().as_bytes())
    }

    pub(super) fn bigint(&mut self, value: i64) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(super) fn int(&mut self, value: i32) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(super) fn boolean(&mut self, value: bool) -> &mut Self {
        self.bytes(&[value.into()])
    }

    pub(super) fn instant(&mut self, value: Timestamp) -> &mut Self {
        self.bigint(value.timestamp_micros() - EPOCH_MICROS)
    }

    pub(super) fn text(&mut self, value: &str) -> &mut Self {
        self.bytes(value.as_bytes())
    }

    /// Digests and labels; the length of a field is bounded by what a record of the ledger can hold.
    pub(super) fn bytes(&mut self, value: &[u8]) -> &mut Self {
        let length = i32::try_from(value.len()).expect("a field of a record is shorter than 2 GiB");
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(value);
        self
    }

    pub(super) fn optional<T>(&mut self, value: Option<T>, put: impl FnOnce(&mut Self, T) -> &mut Self) -> &mut Self {
        match value {
            Some(value) => put(self, value),
            None => {
                self.0.extend_from_slice(&NULL.to_be_bytes());
                self
            }
        }
    }

    /// Puts them into the table that the statement names.
    pub(super) async fn copy(mut self, connection: &mut PgConnection, statement: &str) -> Result<(), sqlx::Error> {
        self.0.extend_from_slice(&END.to_be_bytes());
        let mut copy = connection.copy_in_raw(statement).await?;
        // A copy that failed has to be ended all the same, or the connection can't even be told to roll back.
        if let Err(error) = copy.send(self.0).await {
            let _ = copy.abort("it could not be sent whole").await;
            return Err(error);
        }
        copy.finish().await?;
        Ok(())
    }
}

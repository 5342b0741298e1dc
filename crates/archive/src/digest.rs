//! The digest of a table: equal rows give equal digests, in whatever order they lie.
//!
//! The server prints each row as text (`COPY ... TO STDOUT`, settings pinned by [`pin`]), the digest is the sum of the
//! rows' SHA-256 modulo 2^256. It is computed on this side of the connection, so the server needs no extension and a
//! restored one can't answer from memory.
//!
//! It guards against damage, not against a forger: sums of hashes can be steered by someone who may choose thousands
//! of rows. Text of a `float` or an enum-like cast is only comparable between servers that print it alike, which
//! Postgres keeps stable across major versions for every type our schema uses.

use bytes::Bytes;
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, Executor, PgConnection};

/// What was seen of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableDigest {
    pub rows: u64,
    /// Length of all rows' text, without line ends.
    pub bytes: u64,
    /// Hex, 64 digits. Sixty-four zeroes for no rows.
    pub digest: String,
}

/// The settings under which values are printed, and that make the heap be read instead of an index.
const PINNED: &[(&str, &str)] = &[
    ("TimeZone", "UTC"),
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "iso_8601"),
    ("bytea_output", "hex"),
    ("extra_float_digits", "1"),
    ("client_encoding", "UTF8"),
    ("search_path", "public"),
    ("row_security", "off"),
    ("enable_indexscan", "off"),
    ("enable_indexonlyscan", "off"),
    ("enable_bitmapscan", "off"),
    ("statement_timeout", "0"),
];

/// Pins the connection's settings. Whatever measures here calls it by itself; it costs one round trip.
///
/// # Errors
/// If the server refuses a setting or does not answer.
pub async fn pin(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let sql: String = PINNED.iter().map(|(name, value)| format!("SET {name} = '{value}';")).collect();
    connection.execute(sqlx::raw_sql(AssertSqlSafe(format!("-- digest_pin\n{sql}")))).await?;
    Ok(())
}

/// Digests the rows that `sql` (a `SELECT`, as the manifest holds it) gives. Pins the connection.
///
/// # Errors
/// If the statement fails or the connection breaks. The connection is of no further use then.
pub async fn table_digest(connection: &mut PgConnection, sql: &str) -> Result<TableDigest, sqlx::Error> {
    Ok(accumulate(connection, sql, |_| {}).await?.finish())
}

/// As [`table_digest`], for whoever reads a table in parts or wants to read what is digested without reading it twice:
/// hands each row's line to `look`, in `COPY`'s text format, without its line end, in no order that means anything.
///
/// # Errors
/// As [`table_digest`].
pub async fn accumulate(
    connection: &mut PgConnection,
    sql: &str,
    mut look: impl FnMut(Bytes),
) -> Result<Accumulator, sqlx::Error> {
    pin(connection).await?;
    let statement = format!("COPY ({sql}) TO STDOUT (FORMAT text, ENCODING 'UTF8')");
    let mut lines = connection.copy_out_raw(&statement).await?;
    let mut sum = Accumulator::default();
    // The protocol promises one message per row.
    while let Some(mut line) = lines.try_next().await? {
        if line.ends_with(b"\n") {
            line.truncate(line.len() - 1);
        }
        sum.add(&line);
        look(line);
    }
    Ok(sum)
}

/// Adds up rows.
#[derive(Debug, Default)]
pub struct Accumulator {
    rows: u64,
    bytes: u64,
    /// Least significant first.
    limbs: [u64; 4],
}

impl Accumulator {
    /// Adds one row's text, without its line end.
    pub fn add(&mut self, line: &[u8]) {
        self.rows += 1;
        self.bytes += line.len() as u64;
        let hash: [u8; 32] = Sha256::digest(line).into();
        let mut limbs = hash.rchunks_exact(8).map(|bytes| bytes.try_into().expect("a chunk has eight bytes"));
        self.add_limbs(std::array::from_fn(|_| u64::from_be_bytes(limbs.next().expect("a hash has four chunks"))));
    }

    /// Adds what was seen of other rows of the same table.
    pub fn absorb(&mut self, other: &Self) {
        self.rows += other.rows;
        self.bytes += other.bytes;
        self.add_limbs(other.limbs);
    }

    fn add_limbs(&mut self, added: [u64; 4]) {
        let mut carry = false;
        for (limb, add) in self.limbs.iter_mut().zip(added) {
            let (sum, over) = limb.overflowing_add(add);
            let (sum, over_again) = sum.overflowing_add(u64::from(carry));
            *limb = sum;
            carry = over || over_again;
        }
    }

    #[must_use]
    pub fn finish(&self) -> TableDigest {
        let [a, b, c, d] = self.limbs;
        TableDigest { rows: self.rows, bytes: self.bytes, digest: format!("{d:016x}{c:016x}{b:016x}{a:016x}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(rows: &[&str]) -> TableDigest {
        let mut sum = Accumulator::default();
        rows.iter().for_each(|row| sum.add(row.as_bytes()));
        sum.finish()
    }

    #[test]
    fn order_does_not_matter_and_every_row_counts() {
        assert_eq!(digest(&["a", "b", "c"]), digest(&["c", "a", "b"]));
        assert_ne!(digest(&["a", "b"]), digest(&["a", "b", "b"]));
        assert_ne!(digest(&["ab", ""]), digest(&["a", "b"]));
    }

    #[test]
    fn one_row_is_its_plain_hash_and_no_rows_are_zero() {
        assert_eq!(digest(&["a"]).digest, hex::encode(Sha256::digest(b"a")));
        assert_eq!(digest(&[]).digest, "0".repeat(64));
    }

    #[test]
    fn a_table_read_in_parts_has_the_digest_of_the_whole() {
        let mut sum = Accumulator::default();
        for part in [["a", "b"], ["c", "d"]] {
            let mut one = Accumulator::default();
            part.iter().for_each(|row| one.add(row.as_bytes()));
            sum.absorb(&one);
        }
        assert_eq!(sum.finish(), digest(&["a", "b", "c", "d"]));
    }

    #[test]
    fn carries_run_through_every_limb() {
        let mut sum = Accumulator { limbs: [u64::MAX; 4], ..Accumulator::default() };
        sum.add(b"x");
        // All ones is minus one.
        let hash = Sha256::digest(b"x");
        let low = u64::from_be_bytes(hash[24..].try_into().unwrap());
        assert_eq!(sum.limbs[0], low.wrapping_sub(1));
        assert_eq!(sum.limbs[3], u64::from_be_bytes(hash[..8].try_into().unwrap()));
    }
}

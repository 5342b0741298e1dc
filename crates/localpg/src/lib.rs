//! A private Postgres cluster from the machine's own binaries.

//! Orgs, members and tokens.

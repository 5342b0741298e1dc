//! The words of the field as types, and every pure decision.
//!
//! A decision is a function of its arguments: what the time is, what is stored, what was asked for. So each is tested
//! without a database, a process or a wait.
//!
//! Not here: I/O of any kind, async, SQL, HTTP.

pub mod byok;
pub mod call;
pub mod channel;
pub mod chat;
pub mod command;
pub mod compaction;
pub mod details;
pub mod egress;
pub mod erasure;
pub mod event;
pub mod feed;
pub mod fold;
pub mod import;
pub mod name;
pub mod permission;
pub mod plan;
pub mod policy;
pub mod profile;
pub mod projection;
pub mod quota;
pub mod rate;
pub mod recent;
pub mod retry;
pub mod schedule;
pub mod session;
pub mod spend;
pub mod subscription;
pub mod tenancy;
pub mod upload;
pub mod version;

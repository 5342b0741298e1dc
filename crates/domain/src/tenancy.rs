//! Who may do what: the role of an account in an org, the scopes of the token it comes with, and the one decision
//! that joins them.
//!
//! Not here: finding out who somebody is (`web::auth`), keeping tenants apart (every statement of `store`).

use serde::{Deserialize, Serialize};

/// What an account is in an org.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Owner,
    Admin,
    Member,
    Viewer,
}

/// What a token was made for. It never gives more than the role of its account does, except `operator`, which
/// stands above orgs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    Read,
    Write,
    Operator,
}

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Look at what the org has.
    Read,
    /// Talk to agents, approve, run workflows, bind channels.
    Write,
    /// Members, other people's tokens, keys.
    Manage,
    /// The installation: orgs, diagnostics, metrics, acting in any org.
    Operate,
}

/// Whether a token with `scopes` of an account that is `role` in the org gives `permission` there.
#[must_use]
pub fn permits(role: Role, scopes: &[Scope], permission: Permission) -> bool {
    let operates = scopes.contains(&Scope::Operator);
    match permission {
        Permission::Operate => operates,
        Permission::Read => scopes.contains(&Scope::Read),
        Permission::Write => scopes.contains(&Scope::Write) && (operates || role != Role::Viewer),
        Permission::Manage => scopes.contains(&Scope::Write) && (operates || matches!(role, Role::Owner | Role::Admin)),
    }
}

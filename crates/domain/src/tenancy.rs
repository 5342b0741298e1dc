//! Who may do what: the role of an account in an org, the scopes of the token it comes with, and the one decision
//! that joins them.
//!
//! Not here: finding out who somebody is (`web::auth`), keeping tenants apart (every statement of `store`).

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What an account is in an org.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Owner,
    Admin,
    Member,
    Viewer,
}

impl Role {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Member => "member",
            Self::Viewer => "viewer",
        }
    }
}

impl FromStr for Role {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let roles = [Self::Owner, Self::Admin, Self::Member, Self::Viewer];
        roles.into_iter().find(|role| role.as_str() == text).ok_or_else(|| UnknownWord(text.to_owned()))
    }
}

/// What a token was made for. It never gives more than the role of its account does, except `operator`, which
/// stands above orgs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    Read,
    Write,
    Operator,
}

impl Scope {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Operator => "operator",
        }
    }
}

impl FromStr for Scope {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let scopes = [Self::Read, Self::Write, Self::Operator];
        scopes.into_iter().find(|scope| scope.as_str() == text).ok_or_else(|| UnknownWord(text.to_owned()))
    }
}

/// No role or scope has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("nothing is called {0:?}")]
pub struct UnknownWord(String);

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

/// Whether somebody who has `scopes` may hand out a token with `wanted`: nobody gives what they don't have.
#[must_use]
pub fn may_grant(scopes: &[Scope], wanted: &[Scope]) -> bool {
    wanted.iter().all(|scope| scopes.contains(scope))
}

/// An email address as accounts are found by it: without space around it, in lower case. `None` if it can't be one.
#[must_use]
pub fn normal_email(text: &str) -> Option<String> {
    let email = text.trim().to_lowercase();
    let (name, host) = email.rsplit_once('@')?;
    let plain = !email.chars().any(|c| c.is_whitespace() || c.is_control());
    (plain && !name.is_empty() && !host.is_empty() && email.chars().count() <= 320).then_some(email)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Permission; 4] = [Permission::Read, Permission::Write, Permission::Manage, Permission::Operate];

    fn check(role: Role, scopes: &[Scope], expect: &[Permission]) {
        for permission in ALL {
            let permitted = permits(role, scopes, permission);
            assert_eq!(permitted, expect.contains(&permission), "{role:?} with {scopes:?}: {permission:?}");
        }
    }

    #[test]
    fn a_token_gives_no_more_than_the_role_of_its_account() {
        use Permission::{Manage, Read, Write};
        let scopes = [Scope::Read, Scope::Write];
        check(Role::Viewer, &scopes, &[Read]);
        check(Role::Member, &scopes, &[Read, Write]);
        check(Role::Admin, &scopes, &[Read, Write, Manage]);
        check(Role::Owner, &scopes, &[Read, Write, Manage]);
    }

    #[test]
    fn a_role_gives_no_more_than_the_token_was_made_for() {
        check(Role::Owner, &[], &[]);
        check(Role::Owner, &[Scope::Read], &[Permission::Read]);
        check(Role::Owner, &[Scope::Write], &[Permission::Write, Permission::Manage]);
    }

    #[test]
    fn an_operator_stands_above_roles() {
        check(Role::Viewer, &[Scope::Operator], &[Permission::Operate]);
        check(Role::Viewer, &[Scope::Read, Scope::Write, Scope::Operator], &ALL);
    }

    #[test]
    fn nobody_grants_what_they_do_not_have() {
        assert!(may_grant(&[Scope::Read, Scope::Write], &[Scope::Read]));
        assert!(!may_grant(&[Scope::Read, Scope::Write], &[Scope::Read, Scope::Operator]));
    }

    #[test]
    fn roles_and_scopes_read_back_from_their_names() {
        for role in [Role::Owner, Role::Admin, Role::Member, Role::Viewer] {
            assert_eq!(role.as_str().parse(), Ok(role));
        }
        for scope in [Scope::Read, Scope::Write, Scope::Operator] {
            assert_eq!(scope.as_str().parse(), Ok(scope));
        }
        assert!("root".parse::<Role>().is_err());
    }

    #[test]
    fn an_address_is_found_however_it_is_written() {
        assert_eq!(normal_email(" Ada@Example.org "), Some("ada@example.org".into()));
        for text in ["", "ada", "@example.org", "ada@", "a da@example.org"] {
            assert_eq!(normal_email(text), None, "{text}");
        }
    }
}

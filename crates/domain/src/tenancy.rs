//! Who may do what: the role of an account in an org, the scopes of the token it comes with, and the one decision
//! that joins them.
//!
//! A role is a name for a set of permissions. Six are built in; an org makes others of its own.
//!
//! Not here: the permissions (`permission`), finding out who somebody is (`web::auth`), keeping tenants apart (every
//! statement of `store`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::permission::{Permission, Permissions};

#[cfg(feature = "openapi")]
mod schema;

/// The longest name of a role, in characters.
pub const ROLE_CHARS: usize = 50;
/// The longest email address, in characters.
pub const EMAIL_CHARS: usize = 320;

/// A role that every org has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything in the org.
    Owner,
    /// All but having a person forgotten.
    Admin,
    /// Talks to agents, approves, runs workflows, binds channels.
    Member,
    /// Looks at the work.
    Viewer,
    /// Keeps things running: deliveries, runs, the audit trail.
    Operator,
    /// Sees who may do what and who did what, and nothing that was said in sessions.
    Auditor,
}

impl Role {
    pub const ALL: [Self; 6] = [Self::Owner, Self::Admin, Self::Member, Self::Viewer, Self::Operator, Self::Auditor];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Member => "member",
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Auditor => "auditor",
        }
    }

    #[must_use]
    pub fn permissions(self) -> Permissions {
        use Permission as P;
        let all = P::ALL.iter().copied().filter(|permission| !permission.above_orgs());
        let viewed = [P::SessionsRead, P::ArtifactsRead, P::WorkflowsRead, P::ChannelsRead, P::KeysRead];
        let known = [P::MembersRead, P::TokensRead, P::UsageRead];
        let looks = || viewed.into_iter().chain(known);
        match self {
            Self::Owner => all.collect(),
            Self::Admin => all.filter(|permission| *permission != P::SubjectsErase).collect(),
            Self::Member => {
                let speaks = [P::SessionsWrite, P::SessionsApprove, P::ArtifactsWrite];
                let works = [P::WorkflowsWrite, P::WorkflowsRun, P::ChannelsWrite];
                looks().chain(speaks).chain(works).chain([P::DeliveriesDecide, P::TokensWrite, P::AuditRead]).collect()
            }
            Self::Viewer => looks().chain([P::AuditRead]).collect(),
            Self::Operator => {
                let keeps = [P::WorkflowsWrite, P::WorkflowsRun, P::DeliveriesDecide, P::TokensWrite, P::AuditRead];
                looks().chain(keeps).collect()
            }
            Self::Auditor => known.into_iter().chain([P::KeysRead, P::ChannelsRead, P::AuditRead]).collect(),
        }
    }
}

impl FromStr for Role {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or_else(|| UnknownWord::new(text))
    }
}

/// The role of an account: one that is built in, or one of the org's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RoleName {
    BuiltIn(Role),
    /// Lower-case letters, digits and hyphens; a letter first.
    Custom(String),
}

impl RoleName {
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::BuiltIn(role) => role.as_str(),
            Self::Custom(name) => name,
        }
    }
}

impl FromStr for RoleName {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        if let Ok(role) = text.parse() {
            return Ok(Self::BuiltIn(role));
        }
        let plain = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        let begins = text.starts_with(|first: char| first.is_ascii_lowercase());
        let fits = plain && begins && text.len() <= ROLE_CHARS;
        fits.then(|| Self::Custom(text.to_owned())).ok_or_else(|| UnknownWord::new(text))
    }
}

impl TryFrom<String> for RoleName {
    type Error = UnknownWord;

    fn try_from(text: String) -> Result<Self, UnknownWord> {
        text.parse()
    }
}

impl From<RoleName> for String {
    fn from(role: RoleName) -> Self {
        role.as_str().to_owned()
    }
}

impl From<Role> for RoleName {
    fn from(role: Role) -> Self {
        Self::BuiltIn(role)
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// What a token was made for. It never gives more than the role of its account does, except `operator`, which
/// stands above orgs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Scope {
    /// All that only looks.
    Read,
    /// All that changes something.
    Write,
    /// The installation, and any org in it.
    Operator,
    /// One permission, by its name.
    Only(Permission),
}

impl Scope {
    /// Every one that there is: the groups first, then the permissions by name.
    pub fn all() -> impl Iterator<Item = Self> {
        let groups = [Self::Read, Self::Write, Self::Operator].into_iter();
        groups.chain(Permission::ALL.iter().copied().map(Self::Only))
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Operator => "operator",
            Self::Only(permission) => permission.as_str(),
        }
    }

    fn permissions(self) -> Permissions {
        let all = Permission::ALL.iter().copied();
        match self {
            Self::Read => all.filter(|permission| permission.reads() && !permission.above_orgs()).collect(),
            Self::Write => all.filter(|permission| !permission.reads() && !permission.above_orgs()).collect(),
            Self::Operator => all.filter(|permission| permission.above_orgs()).collect(),
            Self::Only(permission) => [permission].into_iter().collect(),
        }
    }
}

impl FromStr for Scope {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        match text {
            "read" => Ok(Self::Read),
            "write" => Ok(Self::Write),
            "operator" => Ok(Self::Operator),
            other => other.parse().map(Self::Only),
        }
    }
}

impl TryFrom<String> for Scope {
    type Error = UnknownWord;

    fn try_from(text: String) -> Result<Self, UnknownWord> {
        text.parse()
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.as_str().to_owned()
    }
}

/// No role, scope or permission has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("nothing is called {0:?}")]
pub struct UnknownWord(String);

impl UnknownWord {
    pub(crate) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// What scopes are made for, together.
#[must_use]
pub fn scoped(scopes: &[Scope]) -> Permissions {
    scopes.iter().fold(Permissions::default(), |set, scope| set.union(scope.permissions()))
}

/// What a token with `scopes` gives, of an account whose role permits `role`.
#[must_use]
pub fn permitted(role: Permissions, scopes: &[Scope]) -> Permissions {
    let scoped = scoped(scopes);
    // No role reaches above orgs: that comes with the token. Who acts in any org needs a role in none.
    let above = Permission::ALL.iter().copied().filter(|permission| permission.above_orgs()).collect();
    if scoped.contains(Permission::InstallationWrite) { scoped } else { scoped.intersection(role.union(above)) }
}

/// Whether somebody who has `scopes` may hand out a token with `wanted`: nobody gives what they don't have.
#[must_use]
pub fn may_grant(scopes: &[Scope], wanted: &[Scope]) -> bool {
    scoped(scopes).covers(scoped(wanted))
}

/// An email address as accounts are found by it: without space around it, in lower case. `None` if it can't be one.
#[must_use]
pub fn normal_email(text: &str) -> Option<String> {
    let email = text.trim().to_lowercase();
    let (name, host) = email.rsplit_once('@')?;
    let plain = !email.chars().any(|c| c.is_whitespace() || c.is_control());
    (plain && !name.is_empty() && !host.is_empty() && email.chars().count() <= EMAIL_CHARS).then_some(email)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gives(role: Role, scopes: &[Scope], permission: Permission) -> bool {
        permitted(role.permissions(), scopes).contains(permission)
    }

    #[test]
    fn a_token_gives_no_more_than_the_role_of_its_account() {
        use Permission::{MembersWrite, SessionsRead, SessionsWrite, SubjectsErase};
        for (role, expect) in [
            (Role::Owner, [true, true, true, true]),
            (Role::Admin, [true, true, true, false]),
            (Role::Member, [true, true, false, false]),
            (Role::Viewer, [true, false, false, false]),
            (Role::Operator, [true, false, false, false]),
            (Role::Auditor, [false, false, false, false]),
        ] {
            let scopes = [Scope::Read, Scope::Write];
            let given = [SessionsRead, SessionsWrite, MembersWrite, SubjectsErase].map(|it| gives(role, &scopes, it));
            assert_eq!(given, expect, "{role:?}");
        }
    }

    #[test]
    fn a_role_gives_no_more_than_the_token_was_made_for() {
        assert_eq!(permitted(Role::Owner.permissions(), &[]), Permissions::default());
        assert!(permitted(Role::Owner.permissions(), &[Scope::Read]).iter().all(Permission::reads));
        assert!(!permitted(Role::Owner.permissions(), &[Scope::Write]).iter().any(Permission::reads));
        let one = Scope::Only(Permission::AuditRead);
        assert!(permitted(Role::Owner.permissions(), &[one]).iter().eq([Permission::AuditRead]));
        assert!(!gives(Role::Member, &[Scope::Only(Permission::KeysWrite)], Permission::KeysWrite));
    }

    #[test]
    fn an_operator_stands_above_roles_and_nobody_else_above_orgs() {
        let all = [Scope::Read, Scope::Write, Scope::Operator];
        assert!(Permission::ALL.iter().all(|permission| gives(Role::Auditor, &all, *permission)));
        assert!(permitted(Role::Owner.permissions(), &[Scope::Operator]).iter().all(Permission::above_orgs));
        for role in Role::ALL {
            assert!(!role.permissions().iter().any(Permission::above_orgs), "{role:?}");
        }
        let looks = permitted(Role::Owner.permissions(), &[Scope::Only(Permission::InstallationRead)]);
        assert!(looks.iter().eq([Permission::InstallationRead]));
    }

    #[test]
    fn nobody_grants_what_they_do_not_have() {
        assert!(may_grant(&[Scope::Read, Scope::Write], &[Scope::Read]));
        assert!(may_grant(&[Scope::Read], &[Scope::Only(Permission::AuditRead)]));
        assert!(!may_grant(&[Scope::Read], &[Scope::Only(Permission::KeysWrite)]));
        assert!(!may_grant(&[Scope::Read, Scope::Write], &[Scope::Read, Scope::Operator]));
    }

    #[test]
    fn roles_and_scopes_read_back_from_their_names() {
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
            assert_eq!(role.as_str().parse(), Ok(RoleName::BuiltIn(role)));
        }
        for scope in Scope::all() {
            assert_eq!(scope.as_str().parse(), Ok(scope));
        }
        assert_eq!("on-call".parse(), Ok(RoleName::Custom("on-call".into())));
        let long = "x".repeat(ROLE_CHARS + 1);
        for text in ["", "On-Call", "1st", "-x", "a b", "\u{430}dmin", &long] {
            assert!(text.parse::<RoleName>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_address_is_found_however_it_is_written() {
        assert_eq!(normal_email(" Ada@Example.org "), Some("ada@example.org".into()));
        for text in ["", "ada", "@example.org", "ada@", "a da@example.org"] {
            assert_eq!(normal_email(text), None, "{text}");
        }
    }
}

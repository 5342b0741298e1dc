//! Permissions, named one by one, and sets of them: what roles and scopes are made of.
//!
//! Not here: which role has which (`tenancy`), asking for one (`web::auth`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::tenancy::UnknownWord;

// `tt`, since a derive that reads attributes does not see through a `literal` that a macro hands on.
macro_rules! permissions {
    ($($(#[$doc:meta])* $name:ident = $text:tt),* $(,)?) => {
        /// What somebody wants to do. Its name is a noun and a verb: `sessions.read`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub enum Permission {
            $($(#[$doc])* #[serde(rename = $text)] $name,)*
        }

        impl Permission {
            /// In the order in which people read them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

permissions! {
    /// Sessions, their commands and events.
    SessionsRead = "sessions.read",
    /// Begin sessions, prompt and abort.
    SessionsWrite = "sessions.write",
    /// Approve and reject what agents ask leave for, and answer them.
    SessionsApprove = "sessions.approve",
    ArtifactsRead = "artifacts.read",
    /// Upload files to sessions.
    ArtifactsWrite = "artifacts.write",
    /// Workflows, their slots and runs.
    WorkflowsRead = "workflows.read",
    WorkflowsWrite = "workflows.write",
    /// Start a run by hand.
    WorkflowsRun = "workflows.run",
    /// Channels, bindings and deliveries.
    ChannelsRead = "channels.read",
    ChannelsWrite = "channels.write",
    /// Retry deliveries and set them aside.
    DeliveriesDecide = "deliveries.decide",
    /// Which keys there are; no permission shows one.
    KeysRead = "keys.read",
    KeysWrite = "keys.write",
    /// Members and roles.
    MembersRead = "members.read",
    MembersWrite = "members.write",
    /// Make roles and change what they permit.
    RolesWrite = "roles.write",
    /// Give the org another name. Everybody in it reads that.
    OrgWrite = "org.write",
    /// Set what the org allows. Everybody in it reads that.
    PolicyWrite = "policy.write",
    /// Have a person forgotten.
    SubjectsErase = "subjects.erase",
    /// Which tokens there are.
    TokensRead = "tokens.read",
    /// Make and revoke one's own.
    TokensWrite = "tokens.write",
    /// Make and revoke those of others.
    TokensManage = "tokens.manage",
    AuditRead = "audit.read",
    UsageRead = "usage.read",
    /// Buy a plan for the org, and go to where it is paid.
    BillingWrite = "billing.write",
    /// Diagnostics and metrics of the installation.
    InstallationRead = "installation.read",
    /// Orgs of the installation, and acting in any of them.
    InstallationWrite = "installation.write",
}

impl Permission {
    /// Whether it only looks.
    #[must_use]
    pub fn reads(self) -> bool {
        self.as_str().ends_with(".read")
    }

    /// Whether it is above orgs. No role of an org has one of these.
    #[must_use]
    pub fn above_orgs(self) -> bool {
        self.as_str().starts_with("installation.")
    }

    fn bit(self) -> u64 {
        1 << self as u32
    }
}

impl FromStr for Permission {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let found = Self::ALL.iter().find(|permission| permission.as_str() == text);
        found.copied().ok_or_else(|| UnknownWord::new(text))
    }
}

/// A set of permissions.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Permissions(u64);

impl Permissions {
    #[must_use]
    pub fn contains(self, permission: Permission) -> bool {
        self.0 & permission.bit() != 0
    }

    /// Whether all of `other` are in it.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL.iter().copied().filter(move |permission| self.contains(*permission))
    }
}

impl FromIterator<Permission> for Permissions {
    fn from_iter<I: IntoIterator<Item = Permission>>(permissions: I) -> Self {
        Self(permissions.into_iter().fold(0, |set, permission| set | permission.bit()))
    }
}

impl fmt::Debug for Permissions {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_set().entries(self.iter().map(Permission::as_str)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_read_back_from_their_names() {
        for permission in Permission::ALL {
            assert_eq!(permission.as_str().parse(), Ok(*permission));
            assert_eq!(serde_json::to_value(permission).unwrap(), permission.as_str());
        }
        assert!("sessions.dance".parse::<Permission>().is_err());
    }

    #[test]
    fn a_set_holds_what_was_put_in() {
        let set: Permissions = [Permission::SessionsRead, Permission::InstallationWrite].into_iter().collect();
        assert_eq!(set.iter().count(), 2);
        assert!(set.contains(Permission::InstallationWrite) && !set.contains(Permission::AuditRead));
        let all: Permissions = Permission::ALL.iter().copied().collect();
        assert!(all.covers(set) && !set.covers(all));
        assert_eq!(all.intersection(set), set.union(Permissions::default()));
    }
}

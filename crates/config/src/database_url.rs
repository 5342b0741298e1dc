//! A database URL, which may hold a password and therefore doesn't print one.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error};

/// Where the database is. `Display` and `Debug` show user, host and database; never the password, nor the query, which
/// may name another.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// `None` unless it is a `postgres://` or `postgresql://` URL.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Option<Self> {
        let url = url.into();
        let known = ["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme));
        known.then_some(Self(url))
    }

    /// The whole URL, password and all, for the one who connects.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.0.split_once("://").unwrap_or_default();
        // The last @ before the query: a password with an unescaped / or @ in it must not show either.
        let shown = rest.split_once('?').map_or(rest, |(shown, _)| shown);
        match shown.rsplit_once('@') {
            Some((userinfo, place)) => {
                let user = userinfo.split_once(':').map_or(userinfo, |(user, _)| user);
                write!(out, "{scheme}://{user}@{place}")
            }
            None if rest.contains('@') => write!(out, "{scheme}://..."),
            None => write!(out, "{scheme}://{shown}"),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "DatabaseUrl({self})")
    }
}

impl<'de> Deserialize<'de> for DatabaseUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let refused = || D::Error::custom("a database URL starts with postgres:// or postgresql://");
        Self::new(String::deserialize(deserializer)?).ok_or_else(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn shows(url: &str, expect: &str) {
        let url = DatabaseUrl::new(url).unwrap();
        assert_eq!(url.to_string(), expect);
        assert_eq!(format!("{url:?}"), format!("DatabaseUrl({expect})"));
    }

    #[test]
    fn a_password_is_never_shown() {
        shows("postgres://cowork:pw@db:5432/cowork", "postgres://cowork@db:5432/cowork");
        shows("postgresql://cowork:p/w@x@db/cowork?sslmode=require", "postgresql://cowork@db/cowork");
        shows("postgres://db/cowork?user=a&password=pw", "postgres://db/cowork");
        shows("postgres://cowork:p?w@db/cowork", "postgres://...");
        shows("postgres://cowork@localhost/dev?host=/run/pg", "postgres://cowork@localhost/dev");
    }
}

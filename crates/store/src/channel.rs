//! Channels: ways to people outside.
//!
//! A channel that was closed for good keeps its row, since deliveries, bindings and the audit trail name it. Messages don't
//! find it, lists leave it out unless they are asked for it, and nobody changes it.
//!
//! Not here: closing one (`close`), a channel's signing secret, which is derived from the configured one and stored nowhere (`secrets`).

use clock::Timestamp;
use domain::channel::{ChannelKind, Destination};
use domain::egress::Egress;
use domain::version::{Expected, RowVersion};
use futures::TryStreamExt;
use ids::{ChannelId, OrgId};
use serde_json::json;
use sqlx::PgConnection;

use crate::{ChangeError, Store, StoreError, audit};

mod close;

pub(crate) use self::close::hold;

/// A channel to be made.
#[derive(Debug, Clone)]
pub struct NewChannel {
    pub org: OrgId,
    pub kind: ChannelKind,
    pub name: String,
    pub destination: Destination,
    /// Version of the configured channel secret that its signing secret is derived from.
    pub secret_version: String,
    /// Whether the far side takes a repeated delivery once.
    pub deduplicates: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    pub org: OrgId,
    pub channel_id: ChannelId,
    pub kind: ChannelKind,
    pub name: String,
    pub destination: Destination,
    pub secret_version: String,
    pub deduplicates: bool,
    /// Whether people of whom nobody said what they may do, prompt here.
    pub unknown_may_prompt: bool,
    pub created_at: Timestamp,
    /// `None`: it is open.
    pub closed_at: Option<Timestamp>,
    pub version: RowVersion,
}

/// What changes; `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct ChannelChange {
    pub name: Option<String>,
    pub destination: Option<Destination>,
    pub unknown_may_prompt: Option<bool>,
}

struct Row {
    org_id: OrgId,
    channel_id: ChannelId,
    kind: String,
    name: String,
    destination: String,
    secret_version: String,
    deduplicates: bool,
    unknown_may_prompt: bool,
    created_at: Timestamp,
    closed_at: Option<Timestamp>,
    version: i64,
}

impl TryFrom<Row> for Channel {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let id = row.channel_id;
        let kind = row.kind.parse().map_err(StoreError::unreadable("channels", "kind", id))?;
        let destination = row.destination.parse().map_err(StoreError::unreadable("channels", "destination", id))?;
        Ok(Self {
            org: row.org_id,
            channel_id: row.channel_id,
            kind,
            name: row.name,
            destination,
            secret_version: row.secret_version,
            deduplicates: row.deduplicates,
            unknown_may_prompt: row.unknown_may_prompt,
            created_at: row.created_at,
            closed_at: row.closed_at,
            version: RowVersion { since: row.created_at, version: row.version },
        })
    }
}

impl Store {
    pub async fn channel_create(&self, new: &NewChannel, actor: &str) -> Result<Channel, StoreError> {
        let during = || StoreError::during("channel_create");
        let channel_id: ChannelId = self.sources.id();
        let created_at = self.sources.now();
        let mut tx = self.begin_of(new.org).await.map_err(during())?;
        sqlx::query!(
            "-- channel_create
            INSERT INTO channels (org_id, channel_id, kind, name, destination, secret_version, deduplicates,
                created_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            new.org as OrgId,
            channel_id as ChannelId,
            new.kind.as_str(),
            new.name,
            new.destination.as_str(),
            new.secret_version,
            new.deduplicates,
            created_at,
        )
        .execute(&mut *tx)
        .await
        .map_err(during())?;
        let detail = json!({"kind": new.kind, "name": new.name});
        let target = format!("channel:{channel_id}");
        audit::record(&mut tx, &self.sources, new.org, actor, "channel.create", &target, detail)
            .await
            .map_err(during())?;
        tx.commit().await.map_err(during())?;
        let NewChannel { org, kind, name, destination, secret_version, deduplicates } = new.clone();
        let version = RowVersion { since: created_at, version: 1 };
        Ok(Channel {
            org,
            channel_id,
            kind,
            name,
            destination,
            secret_version,
            deduplicates,
            unknown_may_prompt: true,
            created_at,
            closed_at: None,
            version,
        })
    }

    /// Also one that is closed. `None`: the org has no such channel.
    pub async fn channel_get(&self, org: OrgId, channel: ChannelId) -> Result<Option<Channel>, StoreError> {
        let row = sqlx::query_as!(
            Row,
            r#"-- channel_get
            SELECT org_id AS "org_id: OrgId", channel_id AS "channel_id: ChannelId", kind, name, destination,
                secret_version, deduplicates, unknown_may_prompt, created_at, closed_at, version
            FROM channels WHERE org_id = $1 AND channel_id = $2"#,
            org as OrgId,
            channel as ChannelId,
        )
        .fetch_optional(self.of(org))
        .await
        .map_err(StoreError::during("channel_get"))?;
        row.map(Channel::try_from).transpose()
    }

    /// Renames a channel or leads it elsewhere, if it is in the state that the change was made for. What waits goes to the new
    /// destination, too. A change that changes nothing writes nothing.
    pub async fn channel_change(
        &self,
        org: OrgId,
        channel: ChannelId,
        change: &ChannelChange,
        expected: &Expected,
        actor: &str,
    ) -> Result<Channel, ChangeError> {
        let during = || StoreError::during("channel_change");
        let mut tx = self.begin_of(org).await.map_err(during())?;
        let row = lock(&mut tx, org, channel).await.map_err(during())?.ok_or(ChangeError::NoSuch("channel"))?;
        let found = Channel::try_from(row)?;
        if found.closed_at.is_some() {
            return Err(ChangeError::Closed("channel"));
        }
        if !expected.met_by(Some(found.version)) {
            return Err(ChangeError::Stale("channel"));
        }
        let changed = changed(&found, change);
        if changed == found {
            return Ok(found);
        }
        write(&mut tx, &changed).await.map_err(during())?;
        let target = format!("channel:{channel}");
        let entries = [
            (found.name != changed.name, "channel.rename", json!({"name": changed.name})),
            // Where to is not said: a webhook's address often is a secret by itself.
            (found.destination != changed.destination, "channel.redirect", json!({})),
            (
                found.unknown_may_prompt != changed.unknown_may_prompt,
                "channel.admit",
                json!({"unknown_may_prompt": changed.unknown_may_prompt}),
            ),
        ];
        for (_, action, detail) in entries.into_iter().filter(|(happened, ..)| *happened) {
            audit::record(&mut tx, &self.sources, org, actor, action, &target, detail).await.map_err(during())?;
        }
        tx.commit().await.map_err(during())?;
        Ok(changed)
    }

    /// Whose it is, is in the answer: messages come in at an address that names the channel alone. `None`: there is no such channel,
    /// or it is closed.
    pub async fn channel_find(&self, channel: ChannelId) -> Result<Option<Channel>, StoreError> {
        let row = sqlx::query_as!(
            Row,
            r#"-- channel_find
            SELECT org_id AS "org_id: OrgId", channel_id AS "channel_id: ChannelId", kind, name, destination,
                secret_version, deduplicates, unknown_may_prompt, created_at, closed_at, version
            FROM channels WHERE channel_id = $1 AND closed_at IS NULL"#,
            channel as ChannelId,
        )
        .fetch_optional(self.everywhere())
        .await
        .map_err(StoreError::during("channel_find"))?;
        row.map(Channel::try_from).transpose()
    }

    /// In the order that they were made; those that are closed only if `with_closed`.
    pub async fn channel_list(
        &self,
        org: OrgId,
        with_closed: bool,
        after: Option<ChannelId>,
        limit: i64,
    ) -> Result<Vec<Channel>, StoreError> {
        let rows = sqlx::query_as!(
            Row,
            r#"-- channel_list
            SELECT org_id AS "org_id: OrgId", channel_id AS "channel_id: ChannelId", kind, name, destination,
                secret_version, deduplicates, unknown_may_prompt, created_at, closed_at, version
            FROM channels
            WHERE org_id = $1 AND ($2::uuid IS NULL OR channel_id > $2) AND ($4::boolean OR closed_at IS NULL)
            ORDER BY channel_id LIMIT $3"#,
            org as OrgId,
            after as Option<ChannelId>,
            limit,
            with_closed,
        )
        .fetch_all(self.of(org))
        .await
        .map_err(StoreError::during("channel_list"))?;
        rows.into_iter().map(Channel::try_from).collect()
    }

    /// Channels that are open, of all orgs, whose destination says by itself that it is where `egress` does not go. Reads all of them: for a
    /// person who asks, not for a loop. What a name leads to is not looked up.
    pub async fn channel_count_refused(&self, egress: &Egress) -> Result<i64, StoreError> {
        let during = || StoreError::during("channel_count_refused");
        let mut rows = sqlx::query!(
            r#"-- channel_count_refused
            SELECT channel_id AS "channel_id: ChannelId", destination FROM channels WHERE closed_at IS NULL"#
        )
        .fetch(self.everywhere());
        let mut refused = 0;
        while let Some(row) = rows.try_next().await.map_err(during())? {
            let destination = row.destination.parse::<Destination>();
            let destination = destination.map_err(StoreError::unreadable("channels", "destination", row.channel_id))?;
            refused += i64::from(egress.judge_url(destination.url()).is_err());
        }
        Ok(refused)
    }
}

async fn lock(connection: &mut PgConnection, org: OrgId, channel: ChannelId) -> Result<Option<Row>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"-- channel_lock
        SELECT org_id AS "org_id: OrgId", channel_id AS "channel_id: ChannelId", kind, name, destination,
            secret_version, deduplicates, unknown_may_prompt, created_at, closed_at, version
        FROM channels WHERE org_id = $1 AND channel_id = $2 FOR NO KEY UPDATE"#,
        org as OrgId,
        channel as ChannelId,
    )
    .fetch_optional(connection)
    .await
}

/// The same value, version and all, if nothing changes.
fn changed(found: &Channel, change: &ChannelChange) -> Channel {
    let mut changed = found.clone();
    if let Some(name) = &change.name {
        changed.name.clone_from(name);
    }
    if let Some(destination) = &change.destination {
        changed.destination = destination.clone();
    }
    if let Some(unknown_may_prompt) = change.unknown_may_prompt {
        changed.unknown_may_prompt = unknown_may_prompt;
    }
    if changed != *found {
        changed.version.version += 1;
    }
    changed
}

async fn write(connection: &mut PgConnection, changed: &Channel) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "-- channel_change
        UPDATE channels SET name = $3, destination = $4, version = $5, unknown_may_prompt = $6
        WHERE org_id = $1 AND channel_id = $2",
        changed.org as OrgId,
        changed.channel_id as ChannelId,
        changed.name,
        changed.destination.as_str(),
        changed.version.version,
        changed.unknown_may_prompt,
    )
    .execute(connection)
    .await?;
    Ok(())
}

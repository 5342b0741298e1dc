//! Noting what the ledger says, and no more: a batch is one `COPY` per table. Adding up is left to `apply`, so telling a
//! thing twice changes nothing.
//!
//! `COPY` is no statement that a checked macro could take.
//!
//! Not here: what it means for the rows (`apply`).

use ids::AccountId;
use uuid::Uuid;

use super::copy::Rows;
use super::{DeliveryNote, Notes, Other, OtherNote, Replay, SlotNote};
use crate::StoreError;

/// An id for things that have none, or whose org does not matter.
const NOBODY: Uuid = Uuid::nil();

impl Replay {
    /// Takes notes of a part of the ledger.
    pub async fn note(&mut self, notes: &Notes) -> Result<(), StoreError> {
        if !notes.deliveries.is_empty() {
            self.deliveries(&notes.deliveries).await.map_err(StoreError::during("replay_note_deliveries"))?;
        }
        if !notes.slots.is_empty() {
            self.slots(&notes.slots).await.map_err(StoreError::during("replay_note_slots"))?;
        }
        if !notes.others.is_empty() {
            self.others(&notes.others).await.map_err(StoreError::during("replay_note_others"))?;
        }
        Ok(())
    }

    async fn deliveries(&mut self, notes: &[DeliveryNote]) -> Result<(), sqlx::Error> {
        let mut rows = Rows::with_capacity(notes.len(), 128);
        for note in notes {
            rows.row(10)
                .uuid(note.org)
                .uuid(note.delivery)
                .bigint(note.intents.cast_signed())
                .bigint(note.not_sent.cast_signed())
                .bigint(up_to_highest(note.dead).cast_signed())
                .int(note.sendings())
                .boolean(note.sent)
                .boolean(note.repeats_are_seen)
                .instant(note.at)
                .optional(note.dead_at, Rows::instant);
        }
        let statement = "-- replay_note_deliveries
            COPY replay_noted_deliveries (org_id, delivery_id, intents, not_sent, given_up, sendings, sent,
                repeats_are_seen, happened_at, dead_at)
            FROM STDIN (FORMAT binary)";
        rows.copy(&mut self.tx, statement).await
    }

    async fn slots(&mut self, notes: &[SlotNote]) -> Result<(), sqlx::Error> {
        let mut rows = Rows::with_capacity(notes.len(), 72);
        for note in notes {
            rows.row(5).uuid(note.org).uuid(note.workflow).instant(note.due_at).boolean(note.fired).instant(note.at);
        }
        let statement = "-- replay_note_slots
            COPY replay_noted_slots (org_id, workflow_id, due_at, fired, happened_at) FROM STDIN (FORMAT binary)";
        rows.copy(&mut self.tx, statement).await
    }

    async fn others(&mut self, notes: &[OtherNote]) -> Result<(), sqlx::Error> {
        let mut rows = Rows::with_capacity(notes.len(), 128);
        for note in notes {
            let Row { kind, org, id, key, label } = Row::from(&note.what);
            rows.row(6).text(kind).uuid(org).uuid(id).bytes(key).optional(label, Rows::text).instant(note.at);
        }
        let statement = "-- replay_note_others
            COPY replay_noted_others (kind, org_id, id, key, label, happened_at) FROM STDIN (FORMAT binary)";
        rows.copy(&mut self.tx, statement).await
    }

    /// The accounts that were erased, past `after`.
    pub async fn subjects_noted(&mut self, after: Option<AccountId>, limit: i64) -> Result<Vec<AccountId>, StoreError> {
        let subjects: Vec<Uuid> = sqlx::query_scalar(
            "-- replay_subjects
            SELECT DISTINCT id FROM replay_noted_others WHERE kind = 'subject' AND id > $1 ORDER BY id LIMIT $2",
        )
        .bind(after.map_or(NOBODY, Uuid::from))
        .bind(limit)
        .fetch_all(&mut *self.tx)
        .await
        .map_err(StoreError::during("replay_subjects"))?;
        Ok(subjects.into_iter().map(AccountId::from).collect())
    }
}

impl DeliveryNote {
    fn sendings(&self) -> i32 {
        (u64::BITS - (self.intents | self.not_sent | self.dead).leading_zeros()).cast_signed()
    }
}

/// So that what was given up joins with `|` like the rest.
fn up_to_highest(bits: u64) -> u64 {
    u64::MAX.checked_shr(bits.leading_zeros()).unwrap_or(0)
}

struct Row<'a> {
    kind: &'static str,
    org: Uuid,
    id: Uuid,
    key: &'a [u8],
    label: Option<&'a str>,
}

impl<'a> From<&'a Other> for Row<'a> {
    fn from(what: &'a Other) -> Self {
        let (kind, org, id) = match what {
            Other::InboundAccepted { org, inlet, .. } => ("inbound", (*org).into(), (*inlet).into()),
            Other::InteractionUsed { org, .. } => ("interaction", (*org).into(), NOBODY),
            Other::IdentityRestricted { org, .. } => ("identity", (*org).into(), NOBODY),
            Other::TokenRevoked { org, token } => ("token", (*org).into(), (*token).into()),
            Other::MemberRemoved { org, account } => ("member", (*org).into(), (*account).into()),
            Other::ChannelClosed { org, channel } => ("channel_closed", (*org).into(), (*channel).into()),
            Other::KeyRevoked { org, key } => ("key", (*org).into(), (*key).into()),
            Other::KeyRotated { org, key, .. } => ("key_rotated", (*org).into(), (*key).into()),
            Other::ChannelRotated { org, channel, .. } => ("channel_rotated", (*org).into(), (*channel).into()),
            Other::TriggerRotated { org, trigger, .. } => ("trigger_rotated", (*org).into(), (*trigger).into()),
            Other::AdapterRotated { .. } => ("adapter_rotated", NOBODY, NOBODY),
            Other::SubjectErased { account } => ("subject", NOBODY, (*account).into()),
            Other::SessionRevoked { account, .. } => ("browser_session", NOBODY, (*account).into()),
        };
        let key: &[u8] = match what {
            Other::InboundAccepted { event: digest, .. }
            | Other::InteractionUsed { interaction: digest, .. }
            | Other::IdentityRestricted { identity: digest, .. }
            | Other::SessionRevoked { session: digest, .. } => digest,
            _ => &[],
        };
        let label = match what {
            Other::KeyRotated { version, .. }
            | Other::ChannelRotated { version, .. }
            | Other::TriggerRotated { version, .. }
            | Other::AdapterRotated { version } => Some(version.as_str()),
            _ => None,
        };
        Self { kind, org, id, key, label }
    }
}

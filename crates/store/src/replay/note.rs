//! Noting what the ledger says: a batch is one statement per table, and telling a thing twice changes nothing.
//!
//! Not here: what it means for the rows (`apply`).

use clock::Timestamp;
use ids::{AccountId, DeliveryId, OrgId};
use sqlx::Row as _;
use uuid::Uuid;

use super::{DeliveryNote, Notes, Other, OtherNote, Replay, SlotNote, Told};
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
        let column =
            |of: fn(&DeliveryNote) -> u64| notes.iter().map(|note| of(note).cast_signed()).collect::<Vec<i64>>();
        sqlx::query(
            "-- replay_note_deliveries
            INSERT INTO replay_deliveries AS known
                (org_id, delivery_id, intents, not_sent, dead, sent, repeats_are_seen, happened_at, dead_at)
            SELECT org_id, delivery_id, bit_or(intents), bit_or(not_sent), bit_or(dead), bool_or(sent),
                bool_or(repeats_are_seen), max(happened_at), max(happened_at) FILTER (WHERE dead <> 0)
            FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[], $6::boolean[], $7::boolean[],
                $8::timestamptz[])
                AS note (org_id, delivery_id, intents, not_sent, dead, sent, repeats_are_seen, happened_at)
            GROUP BY org_id, delivery_id
            ON CONFLICT (org_id, delivery_id) DO UPDATE SET
                intents = known.intents | EXCLUDED.intents,
                not_sent = known.not_sent | EXCLUDED.not_sent,
                dead = known.dead | EXCLUDED.dead,
                sent = known.sent OR EXCLUDED.sent,
                repeats_are_seen = known.repeats_are_seen OR EXCLUDED.repeats_are_seen,
                happened_at = greatest(known.happened_at, EXCLUDED.happened_at),
                dead_at = greatest(known.dead_at, EXCLUDED.dead_at)",
        )
        .bind(notes.iter().map(|note| note.org.into()).collect::<Vec<Uuid>>())
        .bind(notes.iter().map(|note| note.delivery.into()).collect::<Vec<Uuid>>())
        .bind(column(|note| note.intents))
        .bind(column(|note| note.not_sent))
        .bind(column(|note| note.dead))
        .bind(notes.iter().map(|note| note.sent).collect::<Vec<bool>>())
        .bind(notes.iter().map(|note| note.repeats_are_seen).collect::<Vec<bool>>())
        .bind(notes.iter().map(|note| note.at).collect::<Vec<Timestamp>>())
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    async fn slots(&mut self, notes: &[SlotNote]) -> Result<(), sqlx::Error> {
        sqlx::query(
            "-- replay_note_slots
            INSERT INTO replay_slots AS known (org_id, workflow_id, due_at, fired, happened_at)
            SELECT org_id, workflow_id, due_at, bool_or(fired), max(happened_at)
            FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::boolean[], $5::timestamptz[])
                AS note (org_id, workflow_id, due_at, fired, happened_at)
            GROUP BY org_id, workflow_id, due_at
            ON CONFLICT (org_id, workflow_id, due_at) DO UPDATE SET
                fired = known.fired OR EXCLUDED.fired,
                happened_at = greatest(known.happened_at, EXCLUDED.happened_at)",
        )
        .bind(notes.iter().map(|note| note.org.into()).collect::<Vec<Uuid>>())
        .bind(notes.iter().map(|note| note.workflow.into()).collect::<Vec<Uuid>>())
        .bind(notes.iter().map(|note| note.due_at).collect::<Vec<Timestamp>>())
        .bind(notes.iter().map(|note| note.fired).collect::<Vec<bool>>())
        .bind(notes.iter().map(|note| note.at).collect::<Vec<Timestamp>>())
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    async fn others(&mut self, notes: &[OtherNote]) -> Result<(), sqlx::Error> {
        let rows: Vec<Row> = notes.iter().map(Row::from).collect();
        sqlx::query(
            "-- replay_note_others
            INSERT INTO replay_others AS known (kind, org_id, id, key, label, happened_at)
            SELECT DISTINCT ON (kind, org_id, id, key) kind, org_id, id, key, label, happened_at
            FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::bytea[], $5::text[], $6::timestamptz[])
                AS note (kind, org_id, id, key, label, happened_at)
            ORDER BY kind, org_id, id, key, happened_at DESC, label DESC
            ON CONFLICT (kind, org_id, id, key) DO UPDATE SET label = EXCLUDED.label, happened_at = EXCLUDED.happened_at
            WHERE (known.happened_at, coalesce(known.label, '')) < (EXCLUDED.happened_at, coalesce(EXCLUDED.label, ''))",
        )
        .bind(rows.iter().map(|row| row.kind.to_owned()).collect::<Vec<String>>())
        .bind(rows.iter().map(|row| row.org).collect::<Vec<Uuid>>())
        .bind(rows.iter().map(|row| row.id).collect::<Vec<Uuid>>())
        .bind(rows.iter().map(|row| row.key.clone()).collect::<Vec<Vec<u8>>>())
        .bind(rows.iter().map(|row| row.label.clone()).collect::<Vec<Option<String>>>())
        .bind(notes.iter().map(|note| note.at).collect::<Vec<Timestamp>>())
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// What was noted of deliveries past `after`, in the order of their ids: at most `limit`.
    pub async fn delivery_notes(
        &mut self,
        after: Option<(OrgId, DeliveryId)>,
        limit: i64,
    ) -> Result<Vec<DeliveryNote>, StoreError> {
        let (org, delivery) = after.map_or((NOBODY, NOBODY), |(org, delivery)| (org.into(), delivery.into()));
        let rows = sqlx::query(
            "-- replay_delivery_notes
            SELECT org_id, delivery_id, intents, not_sent, dead, sent, repeats_are_seen, happened_at
            FROM replay_deliveries WHERE (org_id, delivery_id) > ($1, $2) ORDER BY org_id, delivery_id LIMIT $3",
        )
        .bind(org)
        .bind(delivery)
        .bind(limit)
        .fetch_all(&mut *self.tx)
        .await
        .map_err(StoreError::during("replay_delivery_notes"))?;
        let bits = |row: &sqlx::postgres::PgRow, column| row.get::<i64, _>(column).cast_unsigned();
        let note = |row: sqlx::postgres::PgRow| DeliveryNote {
            org: row.get::<Uuid, _>("org_id").into(),
            delivery: row.get::<Uuid, _>("delivery_id").into(),
            intents: bits(&row, "intents"),
            not_sent: bits(&row, "not_sent"),
            dead: bits(&row, "dead"),
            sent: row.get("sent"),
            repeats_are_seen: row.get("repeats_are_seen"),
            at: row.get("happened_at"),
        };
        Ok(rows.into_iter().map(note).collect())
    }

    /// Writes down what the notes of these deliveries add up to.
    pub async fn deliveries_told(&mut self, told: &[(DeliveryNote, Told)]) -> Result<(), StoreError> {
        let sendings = |note: &DeliveryNote| u64::BITS - (note.intents | note.not_sent | note.dead).leading_zeros();
        sqlx::query(
            "-- replay_deliveries_told
            UPDATE replay_deliveries AS known SET told = new.told, sendings = new.sendings
            FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::int[]) AS new (org_id, delivery_id, told, sendings)
            WHERE known.org_id = new.org_id AND known.delivery_id = new.delivery_id",
        )
        .bind(told.iter().map(|(note, _)| note.org.into()).collect::<Vec<Uuid>>())
        .bind(told.iter().map(|(note, _)| note.delivery.into()).collect::<Vec<Uuid>>())
        .bind(told.iter().map(|(_, told)| told.as_str().to_owned()).collect::<Vec<String>>())
        .bind(told.iter().map(|(note, _)| sendings(note).cast_signed()).collect::<Vec<i32>>())
        .execute(&mut *self.tx)
        .await
        .map_err(StoreError::during("replay_deliveries_told"))?;
        Ok(())
    }

    /// The accounts that were erased, past `after`.
    pub async fn subjects_noted(&mut self, after: Option<AccountId>, limit: i64) -> Result<Vec<AccountId>, StoreError> {
        let subjects: Vec<Uuid> = sqlx::query_scalar(
            "-- replay_subjects
            SELECT id FROM replay_others WHERE kind = 'subject' AND id > $1 ORDER BY id LIMIT $2",
        )
        .bind(after.map_or(NOBODY, Uuid::from))
        .bind(limit)
        .fetch_all(&mut *self.tx)
        .await
        .map_err(StoreError::during("replay_subjects"))?;
        Ok(subjects.into_iter().map(AccountId::from).collect())
    }
}

struct Row {
    kind: &'static str,
    org: Uuid,
    id: Uuid,
    key: Vec<u8>,
    label: Option<String>,
}

impl From<&OtherNote> for Row {
    fn from(note: &OtherNote) -> Self {
        let (kind, org, id) = match &note.what {
            Other::InboundAccepted { org, channel, .. } => ("inbound", (*org).into(), (*channel).into()),
            Other::InteractionUsed { org, .. } => ("interaction", (*org).into(), NOBODY),
            Other::TokenRevoked { org, token } => ("token", (*org).into(), (*token).into()),
            Other::MemberRemoved { org, account } => ("member", (*org).into(), (*account).into()),
            Other::KeyRevoked { org, key } => ("key", (*org).into(), (*key).into()),
            Other::KeyRotated { org, key, .. } => ("key_rotated", (*org).into(), (*key).into()),
            Other::ChannelRotated { org, channel, .. } => ("channel_rotated", (*org).into(), (*channel).into()),
            Other::AdapterRotated { .. } => ("adapter_rotated", NOBODY, NOBODY),
            Other::SubjectErased { account } => ("subject", NOBODY, (*account).into()),
            Other::SessionRevoked { account, .. } => ("browser_session", NOBODY, (*account).into()),
        };
        let key = match &note.what {
            Other::InboundAccepted { event: digest, .. }
            | Other::InteractionUsed { interaction: digest, .. }
            | Other::SessionRevoked { session: digest, .. } => digest.to_vec(),
            _ => Vec::new(),
        };
        let label = match &note.what {
            Other::KeyRotated { version, .. }
            | Other::ChannelRotated { version, .. }
            | Other::AdapterRotated { version } => Some(version.clone()),
            _ => None,
        };
        Self { kind, org, id, key, label }
    }
}

//! Prompts that steer: those for the agent that is at work.
//!
//! One is pending until the turn that heard it ends, and ends with it, in the same statement (`turn_finish`). So an attempt that is
//! lost has heard nothing: the next one is given it again.
//!
//! Not here: what becomes of one that no turn has heard (`command_next`), how an agent hears it (crates `worker`, `agents`).

use domain::command::Wish;
use ids::{CommandId, OrgId, SessionId};

use crate::{Store, StoreError};

/// Given to one turn at a time; the next ones when it looks again.
const AT_A_TIME: i64 = 8;

/// A prompt for the turn that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Steer {
    pub session: SessionId,
    pub command: CommandId,
    pub ordinal: i64,
    pub text: String,
}

impl Store {
    /// Of the sessions named, prompts that steer past the ordinal that stands with each, in their order. One behind an abort is not
    /// for the turn that the abort ends.
    pub async fn commands_steering(&self, sessions: &[(OrgId, SessionId, i64)]) -> Result<Vec<Steer>, StoreError> {
        let orgs: Vec<uuid::Uuid> = sessions.iter().map(|(org, ..)| (*org).into()).collect();
        let ids: Vec<uuid::Uuid> = sessions.iter().map(|(_, session, _)| (*session).into()).collect();
        let after: Vec<i64> = sessions.iter().map(|(.., after)| *after).collect();
        let rows = sqlx::query!(
            r#"-- commands_steering
            SELECT running.session_id AS "session_id!: SessionId", command_id AS "command_id!: CommandId",
                ordinal AS "ordinal!", kind AS "kind!", payload AS "payload!"
            FROM unnest($1::uuid[], $2::uuid[], $3::bigint[]) AS running (org_id, session_id, after)
            CROSS JOIN LATERAL (
                SELECT command_id, ordinal, kind, payload FROM commands
                WHERE commands.org_id = running.org_id AND commands.session_id = running.session_id
                    AND state = 'pending' AND while_running = 'steer' AND ordinal > after
                    AND NOT EXISTS (
                        SELECT FROM commands AS abort
                        WHERE abort.org_id = running.org_id AND abort.session_id = running.session_id
                            AND abort.state = 'pending' AND abort.kind = 'abort' AND abort.ordinal < commands.ordinal)
                ORDER BY ordinal LIMIT $4
            ) AS steering
            ORDER BY ordinal"#,
            &orgs,
            &ids,
            &after,
            AT_A_TIME,
        )
        .fetch_all(self.everywhere())
        .await
        .map_err(StoreError::during("commands_steering"))?;
        let mut steering = Vec::with_capacity(rows.len());
        for row in rows {
            let (session, command, ordinal) = (row.session_id, row.command_id, row.ordinal);
            if let Wish::Prompt { text } = super::wish(&row.kind, &row.payload, command)? {
                steering.push(Steer { session, command, ordinal, text });
            }
        }
        Ok(steering)
    }
}

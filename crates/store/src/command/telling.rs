//! Commands in the audit trail: who asked for what, of which session. What was said is never quoted.
//!
//! A record is written by the transaction that takes the command down, or by its statement (`take.sql`,
//! `take_at_work.sql`). A repeat of an idempotency key takes nothing down, and tells of nothing.
//!
//! Not here: the prompts of workflows' runs. Of a run that a person starts the trail has `workflow.start` (`slot`), of
//! one that a trigger fires or a call brings it has nothing.

use clock::Sources;
use domain::command::Wish;
use ids::{AccountId, CommandId};
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::NewCommand;
use crate::audit;

/// Who asked. For somebody in a chat who is no member the gateway stands.
pub(crate) fn actor(created_by: Option<AccountId>) -> String {
    created_by.map_or_else(|| "role:gateway".to_owned(), |account| format!("account:{account}"))
}

/// The request of an agent that the wish speaks to.
pub(crate) fn request(wish: &Wish) -> Option<&str> {
    match wish {
        Wish::Answer { request_id, .. } | Wish::Approve { request_id } | Wish::Reject { request_id } => {
            Some(request_id)
        }
        Wish::Prompt { .. } | Wish::Abort {} => None,
    }
}

/// Tells of a command that was just written, in its transaction. `detail` is an object: what there is to say beside
/// which command it is and which request it speaks to.
pub(crate) async fn record(
    connection: &mut PgConnection,
    sources: &Sources,
    new: &NewCommand,
    command: CommandId,
    mut detail: Value,
) -> Result<(), sqlx::Error> {
    let (action, target) = (format!("session.{}", new.wish.kind()), format!("session:{}", new.session));
    detail["command_id"] = json!(command);
    if let Some(request) = request(&new.wish) {
        detail["request_id"] = json!(request);
    }
    audit::record(connection, sources, new.org, &actor(new.created_by), &action, &target, detail).await
}

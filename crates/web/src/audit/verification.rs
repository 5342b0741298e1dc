//! Whether the org's audit trail is what was sealed.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use store::{AuditHead, AuditVerification};
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::auth::Caller;
use crate::extract::{Json, Query};
use crate::problem::Problem;

/// Links that one request goes through, so that it takes seconds at most.
const LIMIT: i64 = 200_000;

/// A link that somebody noted, to begin at. Without it: the beginning of the chain.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Noted {
    #[param(minimum = 0)]
    number: Option<i64>,
    /// Hex.
    #[param(min_length = 64, max_length = 64, pattern = "^[0-9a-fA-F]{64}$")]
    hash: Option<String>,
}

impl Noted {
    fn link(self) -> Result<Option<AuditHead>, Problem> {
        let invalid = || Problem::invalid("number and hash name a link together: a number from 0, and 64 hex digits");
        match (self.number, self.hash) {
            (None, None) => Ok(None),
            (Some(number @ 0..), Some(hash)) => {
                let hash = hex::decode(hash).ok().and_then(|hash| hash.try_into().ok()).ok_or_else(invalid)?;
                Ok(Some(AuditHead { number, hash }))
            }
            _ => Err(invalid()),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditVerification)]
pub(super) struct View {
    /// Whether everything that was looked at holds.
    intact: bool,
    /// Whether that was all, to the end. Else go on from `number` and `hash`.
    complete: bool,
    /// Links that hold.
    verified: i64,
    /// The last of them. Note it elsewhere: who begins there sees whether the chain was written anew.
    number: i64,
    /// Lower-case hex.
    hash: String,
    /// Records whose detail was erased with a person; they hold but for what they quoted.
    erased: i64,
    /// Records that the scheduler has not sealed yet.
    unsealed: i64,
    /// `null`: it is intact.
    fault: Option<Fault>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditFault)]
struct Fault {
    /// Of the first link that does not hold.
    number: i64,
    /// `not_found` (the link to begin at), `missing`, `changed`, `detail_changed` or `end`.
    kind: &'static str,
}

impl From<AuditVerification> for View {
    fn from(seen: AuditVerification) -> Self {
        Self {
            intact: seen.fault.is_none(),
            complete: seen.complete,
            verified: seen.verified,
            number: seen.head.number,
            hash: hex::encode(seen.head.hash),
            erased: seen.erased,
            unsealed: seen.unsealed,
            fault: seen.fault.map(|fault| Fault { number: fault.number, kind: fault.kind.as_str() }),
        }
    }
}

/// Goes through the org's audit trail and compares every record with its seal, 200,000 of them at most.
#[utoipa::path(
    get,
    path = "/api/audit/verification",
    operation_id = "audit_verify",
    tag = "audit",
    params(Noted),
    responses((status = 200, description = "What was seen; also if the trail is broken.", body = View)),
    security(("token" = ["audit.read"])),
)]
pub(super) async fn verify(
    State(app): State<App>,
    caller: Caller,
    Query(noted): Query<Noted>,
) -> Result<Json<View>, Problem> {
    Ok(Json(app.store.audit_verify(caller.org, noted.link()?, LIMIT).await?.into()))
}

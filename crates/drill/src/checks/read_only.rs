//! Row 4, maintenance: while the restored data is looked at the system is in it, and web takes no change from anybody.
//!
//! Begun and ended as an operator does, through the API. What is asked for meanwhile could not be carried out in any case, so a
//! system that is not read-only takes nothing from it.
//!
//! Not here: that other roles begin nothing in maintenance; none is there yet.

use std::time::Duration;

use client::{Client, Error};

use super::{Inquiry, eventually};
use crate::report::Code;
use crate::said::{facts, say};

/// Shown to whoever is refused, and in the audit trail.
const REASON: &str = "a restore drill looks at what was restored";
/// By when every process of the web role has heard of it.
const HEARD_WITHIN: Duration = Duration::from_secs(3);

/// `false`: it could not be begun.
pub(crate) async fn begin(inquiry: &mut Inquiry, operator: &Client) -> bool {
    let Some(begun) = inquiry.learn("PUT /api/maintenance", operator.maintenance_begin(REASON).await) else {
        return false;
    };
    let refused = refuses_changes(operator).await;
    inquiry.expect(begun.on && refused, Code::NotReadOnly, || {
        say!("maintenance was begun, and {} s later web still does not refuse a change", HEARD_WITHIN.as_secs())
    });
    if let Some(seen) = inquiry.learn("GET /api/maintenance", operator.maintenance().await) {
        inquiry.expect(seen.on, Code::NotReadOnly, || {
            "maintenance was begun, and the system says that it is not in it".into()
        });
    }
    inquiry.record("maintenance", &facts!({"begun": begun.on, "change_refused": refused}));
    true
}

/// The end of what [`begin`] has begun: roles that come after have work to do.
pub(crate) async fn end(inquiry: &mut Inquiry, operator: &Client) {
    if inquiry.learn("DELETE /api/maintenance", operator.maintenance_end().await).is_none() {
        return;
    }
    if let Some(seen) = inquiry.learn("GET /api/maintenance", operator.maintenance().await) {
        inquiry.expect(!seen.on, Code::NotReadOnly, || {
            "maintenance was ended, and the system says that it is in it".into()
        });
    }
}

/// Whether a change is refused for maintenance by the time that everybody has heard of it: an org without a name, which nobody gets.
async fn refuses_changes(operator: &Client) -> bool {
    let refused = eventually(HEARD_WITHIN, async || {
        let answer = operator.org_create("").await;
        matches!(answer, Err(Error::Problem(problem)) if problem.code == "maintenance").then_some(())
    });
    refused.await.is_some()
}

//! A part of row 9: every delivery cursor of the backup stands within its session's events, and after whatever was
//! rendered in its thread. One that stands too far loses messages, one that lags behind repeats them.
//!
//! Not here: what is sent (`gateway`).

use std::collections::HashMap;

use ids::{BindingId, SessionId};
use serde::Deserialize;

use super::Inquiry;
use super::parity::SessionRow;
use crate::backup::Backup;
use crate::report::Code;
use crate::said::say;

/// A line of the probe `delivery_cursors`.
#[derive(Debug, Deserialize)]
struct CursorRow {
    binding_id: BindingId,
    session_id: SessionId,
    sequence: i64,
}

/// A line of the probe `deliveries`.
#[derive(Debug, Deserialize)]
struct RenderedRow {
    binding_id: BindingId,
    sequence: i64,
}

pub(crate) fn judge(inquiry: &mut Inquiry, backup: &Backup) {
    let cursors = inquiry.learn::<Vec<CursorRow>>("the backup's cursors", backup.probe("delivery_cursors"));
    let sessions = inquiry.learn::<Vec<SessionRow>>("the backup's sessions", backup.probe("sessions"));
    let rendered = inquiry.learn::<Vec<RenderedRow>>("the backup's deliveries", backup.probe("deliveries"));
    let (Some(cursors), Some(sessions), Some(rendered)) = (cursors, sessions, rendered) else { return };
    let ends: HashMap<SessionId, i64> = sessions.iter().map(|row| (row.session_id, row.last_sequence)).collect();
    let mut newest: HashMap<BindingId, i64> = HashMap::new();
    for row in rendered {
        let newest = newest.entry(row.binding_id).or_default();
        *newest = row.sequence.max(*newest);
    }
    for cursor in cursors {
        let (binding, at) = (cursor.binding_id, cursor.sequence);
        let end = ends.get(&cursor.session_id).copied().unwrap_or_default();
        inquiry.expect(at <= end, Code::CursorAhead, || {
            say!("the cursor of binding {} stands at {}, its session ends at {}", binding, at, end)
        });
        let rendered = newest.get(&binding).copied().unwrap_or_default();
        inquiry.expect(at >= rendered, Code::CursorBehind, || {
            say!("the cursor of binding {} stands at {}, and event {} was rendered already", binding, at, rendered)
        });
    }
}

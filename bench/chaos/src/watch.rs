//! Looks at the sessions all the time, past all wires, and sees what no row tells afterwards: that a fencing counter or a sequence
//! went back, or that one counter had two holders.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::postgres::PgConnection;
use uuid::Uuid;

use crate::server::Server;
use crate::told::Told;

/// From one look to the next.
const PAUSE: Duration = Duration::from_millis(100);
const LOOK: &str = "SELECT session_id, generation, fencing_counter, last_sequence, holder
    FROM sessions LEFT JOIN session_leases USING (org_id, session_id)";

/// What was seen of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    /// Generation and counter.
    token: (i64, i64),
    sequence: i64,
    holder: Option<Uuid>,
}

type Row = (Uuid, i64, i64, i64, Option<Uuid>);

/// Until it is dropped.
pub(crate) async fn watch(server: Server, told: Told) {
    let mut seen = BTreeMap::new();
    loop {
        // Postgres is down now and then; what was seen before still counts.
        if let Ok(connection) = server.connect().await {
            look(connection, &mut seen, &told).await;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Until the connection ends.
async fn look(mut connection: PgConnection, seen: &mut BTreeMap<Uuid, Seen>, told: &Told) {
    while let Ok(rows) = sqlx::query_as::<_, Row>(LOOK).fetch_all(&mut connection).await {
        for (session, generation, counter, sequence, holder) in rows {
            let now = Seen { token: (generation, counter), sequence, holder };
            if let Some(before) = seen.insert(session, now)
                && let Some(fault) = fault(&before, &now)
            {
                told.surprise(format!("session {session}: {fault}"));
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn fault(before: &Seen, now: &Seen) -> Option<String> {
    if now.token < before.token {
        return Some(format!("its fencing token went from {:?} back to {:?}", before.token, now.token));
    }
    if now.sequence < before.sequence {
        return Some(format!("its sequence went from {} back to {}", before.sequence, now.sequence));
    }
    let two = before.holder.zip(now.holder).is_some_and(|(before, now)| before != now);
    (two && now.token == before.token).then(|| format!("two workers held it under the token {:?}", now.token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_back_and_what_two_hold_is_seen() {
        let holder = |number| Some(Uuid::from_u128(number));
        let seen = |counter, sequence, holder| Seen { token: (1, counter), sequence, holder };
        assert_eq!(fault(&seen(1, 5, holder(1)), &seen(2, 6, holder(2))), None);
        assert_eq!(fault(&seen(1, 5, holder(1)), &seen(1, 6, None)), None);
        assert!(fault(&seen(2, 5, None), &seen(1, 5, None)).unwrap().contains("fencing"));
        assert!(fault(&seen(2, 5, None), &seen(2, 4, None)).unwrap().contains("sequence"));
        assert!(fault(&seen(2, 5, holder(1)), &seen(2, 5, holder(2))).unwrap().contains("two workers"));
    }
}

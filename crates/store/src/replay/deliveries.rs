//! What the notes of each delivery add up to, put over its row or, without one, into `remembered_effects`.
//!
//! Added up in the database, in one pass and sorted as the table's key is, since it is most of what a ledger holds. The rule is
//! `ledger::DeliveryFact::verdict`, said a second time in SQL; a test holds the two against each other.
//!
//! Not here: which rows of which other tables learn something (`apply`).

/// Each delivery once, with what is told of it; of the notes that a condition picks. Sorted by the id first, of which the
/// first bytes differ, where those of the org seldom do.
macro_rules! told {
    ($which:literal) => {
        concat!(
            "SELECT org_id, delivery_id, sendings, happened_at, dead_at, CASE
                WHEN sent THEN 'sent'
                WHEN intents & ~(not_sent | given_up) <> 0 THEN CASE WHEN repeats_are_seen THEN 'unknown' ELSE 'again' END
                WHEN given_up <> 0 AND (intents | not_sent) & ~given_up = 0 THEN 'dead'
                ELSE 'not_sent' END AS told
            FROM (
                SELECT org_id, delivery_id, bit_or(intents) AS intents, bit_or(not_sent) AS not_sent,
                    bit_or(given_up) AS given_up, max(sendings) AS sendings, bool_or(sent) AS sent,
                    bool_or(repeats_are_seen) AS repeats_are_seen, max(happened_at) AS happened_at, max(dead_at) AS dead_at
                FROM replay_noted_deliveries AS noted WHERE ",
            $which,
            " GROUP BY delivery_id, org_id ORDER BY delivery_id, org_id
            ) AS fact"
        )
    };
}

/// What is remembered without a row, each once, of the notes that two conditions pick.
macro_rules! effects {
    ($deliveries:literal, $others:literal) => {
        concat!(
            "SELECT org_id, 'delivery' AS kind, delivery_id AS id, ''::bytea AS key, told AS state, happened_at, sendings
            FROM (",
            told!($deliveries),
            ") AS told
            UNION ALL
            SELECT org_id, kind, id, key,
                CASE kind WHEN 'inbound' THEN 'accepted' WHEN 'identity' THEN 'restricted' ELSE 'used' END, max(happened_at), 0
            FROM replay_noted_others AS noted WHERE kind IN ('inbound', 'interaction', 'identity') AND ",
            $others,
            " GROUP BY key, id, kind, org_id"
        )
    };
}

/// One that was given up before the backup, and that waits in it, was revived by an operator since: the row knows better.
pub(super) const KNOWN: &str = concat!(
    "-- replay_known
    INSERT INTO replay_deliveries (org_id, delivery_id, told, sendings, happened_at, state, becomes)
    SELECT org_id, delivery_id, told, told.sendings, happened_at, state, CASE
        WHEN told = 'sent' AND state <> 'sent' THEN 'sent'
        WHEN told = 'dead' AND dead_at >= $1 AND state = 'pending' THEN 'dead'
        WHEN told = 'unknown' AND state = 'pending' THEN 'unknown' END
    FROM (",
    told!(
        "EXISTS (SELECT FROM deliveries
            WHERE deliveries.org_id = noted.org_id AND deliveries.delivery_id = noted.delivery_id)"
    ),
    ") AS told JOIN deliveries USING (org_id, delivery_id)"
);

/// What waits for a channel that the lost system closed is not sent any more. What may have arrived is held for an operator, who
/// can find out what became of it.
pub(super) const CLOSED: &str = "-- replay_closed
    UPDATE replay_deliveries AS known SET becomes = CASE known.told WHEN 'again' THEN 'unknown' ELSE 'dead' END
    FROM deliveries JOIN replay_others AS closed
        ON closed.kind = 'channel_closed' AND closed.org_id = deliveries.org_id AND closed.id = deliveries.channel_id
    WHERE known.org_id = deliveries.org_id AND known.delivery_id = deliveries.delivery_id
        AND known.state = 'pending' AND known.becomes IS NULL";

/// As above, of those that nothing is told of.
pub(super) const SET_ASIDE: &str = "-- replay_set_aside
    UPDATE deliveries SET state = 'dead', finished_at = closed.happened_at, leased_until = NULL,
        fencing_counter = fencing_counter + 1, last_error = 'its channel was closed by the lost system, after the backup'
    FROM replay_others AS closed
    WHERE closed.kind = 'channel_closed' AND closed.org_id = deliveries.org_id AND closed.id = deliveries.channel_id
        AND deliveries.state = 'pending'";

/// A sending's number is never used twice, so that the ledger can tell sendings apart in the next restore, too.
pub(super) const SETTLE: &str = "-- replay_settle
    UPDATE deliveries SET sendings = greatest(deliveries.sendings, told.sendings),
        state = coalesce(becomes, deliveries.state),
        finished_at = CASE WHEN becomes IS NULL THEN finished_at ELSE happened_at END,
        leased_until = CASE WHEN becomes IS NULL THEN leased_until END,
        fencing_counter = fencing_counter + CASE WHEN becomes IS NULL THEN 0 ELSE 1 END,
        last_error = CASE becomes
            WHEN 'dead' THEN 'given up by the lost system, after the backup'
            WHEN 'unknown' THEN 'the lost system was sending it; whether it arrived is not known'
            ELSE last_error END
    FROM replay_deliveries AS told
    WHERE deliveries.org_id = told.org_id AND deliveries.delivery_id = told.delivery_id
        AND (becomes IS NOT NULL OR deliveries.sendings < told.sendings)";

pub(super) const SETTLED: &str = "-- replay_settled
    SELECT count(*) FILTER (WHERE becomes = 'sent') AS sent, count(*) FILTER (WHERE becomes = 'dead') AS dead,
        count(*) FILTER (WHERE becomes = 'unknown') AS unknown,
        count(*) FILTER (WHERE told = 'again' AND state = 'pending' AND becomes IS NULL) AS again
    FROM replay_deliveries";

/// A claim that was held at the instant of the snapshot, and of which the ledger has no intent, has sent nothing; what it
/// does have is told above. One that had run out by then is older than the reading, perhaps, and stays for the gateway to
/// judge.
pub(super) const CLAIMS: &str = "-- replay_claims
    UPDATE deliveries SET leased_until = NULL, fencing_counter = fencing_counter + 1
    WHERE state = 'pending' AND leased_until IS NOT NULL AND (leased_until > $1 OR EXISTS (
        SELECT FROM replay_deliveries AS told
        WHERE told.org_id = deliveries.org_id AND told.delivery_id = deliveries.delivery_id AND told.told = 'not_sent'))";

/// So that nothing comes between looking for what is remembered already and remembering the rest.
pub(super) const ALONE: &str = "-- replay_alone
    LOCK TABLE remembered_effects IN SHARE ROW EXCLUSIVE MODE";

/// What an earlier restore remembers, too.
pub(super) const REMEMBER_AGAIN: &str = concat!(
    "-- replay_remember_again
    UPDATE remembered_effects AS known SET state = told.state, happened_at = told.happened_at, generation = $1,
        sendings = greatest(known.sendings, told.sendings)
    FROM (",
    effects!(
        "NOT EXISTS (SELECT FROM deliveries
            WHERE deliveries.org_id = noted.org_id AND deliveries.delivery_id = noted.delivery_id)
        AND EXISTS (SELECT FROM remembered_effects AS known WHERE known.org_id = noted.org_id
            AND known.kind = 'delivery' AND known.effect_id = noted.delivery_id AND known.effect_key = '')",
        "EXISTS (SELECT FROM remembered_effects AS known WHERE known.org_id = noted.org_id
            AND known.kind = noted.kind AND known.effect_id = noted.id AND known.effect_key = noted.key)"
    ),
    ") AS told
    WHERE known.org_id = told.org_id AND known.kind = told.kind AND known.effect_id = told.id AND known.effect_key = told.key"
);

/// Not `ON CONFLICT`, which makes half a million rows cost twice as much.
pub(super) const REMEMBER: &str = concat!(
    "-- replay_remember
    INSERT INTO remembered_effects (org_id, kind, effect_id, effect_key, state, happened_at, generation, sendings)
    SELECT org_id, kind, id, key, state, happened_at, $1, sendings FROM (",
    effects!(
        "NOT EXISTS (SELECT FROM deliveries
            WHERE deliveries.org_id = noted.org_id AND deliveries.delivery_id = noted.delivery_id)
        AND NOT EXISTS (SELECT FROM remembered_effects AS known WHERE known.org_id = noted.org_id
            AND known.kind = 'delivery' AND known.effect_id = noted.delivery_id AND known.effect_key = '')",
        "NOT EXISTS (SELECT FROM remembered_effects AS known WHERE known.org_id = noted.org_id
            AND known.kind = noted.kind AND known.effect_id = noted.id AND known.effect_key = noted.key)"
    ),
    ") AS told"
);

pub(super) const REMEMBERED: &str = "-- replay_remembered
    SELECT count(*) FILTER (WHERE kind = 'delivery' AND state = 'sent') AS sent,
        count(*) FILTER (WHERE kind = 'delivery' AND state = 'dead') AS dead,
        count(*) FILTER (WHERE kind = 'delivery' AND state = 'unknown') AS unknown,
        count(*) FILTER (WHERE kind = 'inbound') AS inbound,
        count(*) FILTER (WHERE kind = 'inbound' AND happened_at > $2) AS inbound_after,
        count(*) FILTER (WHERE kind = 'interaction') AS interactions
    FROM remembered_effects WHERE generation = $1";

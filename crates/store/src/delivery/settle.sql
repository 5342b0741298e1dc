-- delivery_settle
-- Per claim: $1 org, $2 delivery, $3 and $4 its token, $5 state, $6 next attempt or NULL, $7 error or NULL, $8 id of its
-- usage record. $9 now, $10 what is metered.
WITH told AS (
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[], $5::text[], $6::timestamptz[], $7::text[],
        $8::uuid[]) AS told (org_id, delivery_id, generation, fencing_counter, state, next_attempt_at, error, usage_id)
), settled AS (
    UPDATE deliveries
    SET state = told.state, leased_until = NULL,
        next_attempt_at = coalesce(told.next_attempt_at, deliveries.next_attempt_at),
        finished_at = CASE WHEN told.state = 'pending' THEN NULL ELSE $9::timestamptz END,
        last_error = coalesce(told.error, deliveries.last_error)
    FROM told
    WHERE deliveries.org_id = told.org_id AND deliveries.delivery_id = told.delivery_id
        AND deliveries.generation = told.generation AND deliveries.fencing_counter = told.fencing_counter
        AND deliveries.state = 'pending'
    RETURNING deliveries.org_id, deliveries.delivery_id, deliveries.state, told.usage_id
), metered AS (
    INSERT INTO usage_records (org_id, usage_id, source_id, kind, quantity, recorded_at)
    SELECT org_id, usage_id, delivery_id, $10, 1, $9 FROM settled WHERE state = 'sent'
    ON CONFLICT (org_id, source_id, kind) DO NOTHING
    RETURNING org_id, source_id, kind, quantity
), counted AS (
    INSERT INTO usage_counters (org_id, kind, day, stripe, quantity)
    SELECT org_id, kind, ($9::timestamptz AT TIME ZONE 'UTC')::date, 0, sum(quantity)
    FROM metered GROUP BY org_id, kind ORDER BY org_id
    ON CONFLICT (org_id, kind, day, stripe) DO UPDATE SET quantity = usage_counters.quantity + excluded.quantity
)
SELECT delivery_id AS "delivery_id: DeliveryId" FROM settled

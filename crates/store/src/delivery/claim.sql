-- delivery_claim
-- $1 now, $2 end of the lease, $3 limit, $4 generation of the gateway, $5 today
WITH due AS (
    SELECT candidates.org_id, candidates.delivery_id, candidates.leased_until IS NOT NULL AS held
    FROM deliveries AS candidates
    WHERE state = 'pending' AND next_attempt_at <= $1
        AND (leased_until IS NULL OR leased_until <= $1 OR generation < $4)
        AND $4 = (SELECT max(generation) FROM generations)
        AND NOT EXISTS (SELECT FROM maintenance WHERE maintenance.generation = $4)
        AND NOT EXISTS (
            SELECT FROM deliveries AS earlier
            WHERE earlier.org_id = candidates.org_id AND earlier.binding_id = candidates.binding_id
                AND earlier.sequence < candidates.sequence AND earlier.state = 'pending')
    ORDER BY next_attempt_at, delivery_id
    LIMIT $3
    FOR UPDATE SKIP LOCKED
), judged AS MATERIALIZED (
    -- Somebody held it and did not say what became of it: where a repeat would be a second message, nobody sends it.
    -- One that nobody held waits for the end of the period if its org has used its quota up.
    SELECT due.org_id, due.delivery_id, channels.channel_id, channels.kind, channels.destination,
        channels.secret_version, channels.deduplicates, due.held AND NOT channels.deduplicates AS unknown,
        CASE WHEN NOT due.held THEN (
            SELECT max(CASE period WHEN 'day' THEN ($5::date + 1)::timestamp ELSE date_trunc('month', $5::timestamp) + interval '1 month' END)
            AT TIME ZONE 'UTC'
            FROM quotas
            WHERE quotas.org_id = due.org_id AND quotas.kind = 'deliveries'
                AND quantity_max <= (
                SELECT coalesce(sum(quantity), 0) FROM usage_counters AS used
                WHERE used.org_id = quotas.org_id AND used.kind = quotas.kind
                    AND used.day >= CASE period WHEN 'day' THEN $5::date ELSE date_trunc('month', $5::timestamp)::date END)
        ) END AS put_off_until
    FROM due JOIN deliveries USING (org_id, delivery_id)
        JOIN channels ON channels.org_id = deliveries.org_id AND channels.channel_id = deliveries.channel_id
)
UPDATE deliveries
SET state = CASE WHEN judged.unknown THEN 'unknown' ELSE state END,
    leased_until = CASE WHEN judged.unknown OR judged.put_off_until IS NOT NULL THEN NULL ELSE $2::timestamptz END,
    next_attempt_at = coalesce(judged.put_off_until, deliveries.next_attempt_at),
    finished_at = CASE WHEN judged.unknown THEN $1 ELSE deliveries.finished_at END,
    last_error = CASE WHEN judged.unknown
        THEN 'the gateway that sent it was lost before it recorded the answer' ELSE last_error END,
    attempt = attempt + CASE WHEN judged.unknown OR judged.put_off_until IS NOT NULL THEN 0 ELSE 1 END,
    sendings = sendings + CASE WHEN judged.unknown OR judged.put_off_until IS NOT NULL THEN 0 ELSE 1 END,
    generation = $4, fencing_counter = fencing_counter + 1
FROM judged
WHERE deliveries.org_id = judged.org_id AND deliveries.delivery_id = judged.delivery_id
RETURNING deliveries.org_id AS "org: OrgId", deliveries.delivery_id AS "delivery_id: DeliveryId",
    judged.channel_id AS "channel_id: ChannelId", judged.kind, judged.destination, judged.secret_version,
    judged.deduplicates, deliveries.payload, deliveries.attempt,
    deliveries.sendings AS sending, deliveries.generation, deliveries.fencing_counter,
    deliveries.created_at, deliveries.traceparent, judged.unknown AS "unknown!", judged.put_off_until IS NOT NULL AS "put_off!"

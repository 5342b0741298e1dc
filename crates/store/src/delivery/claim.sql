-- delivery_claim
-- $1 now, $2 end of the lease, $3 and $4 the threads that are looked at, which the caller has locked, $5 generation of the
-- gateway, $6 today
WITH heads AS MATERIALIZED (
    SELECT looked.org_id, looked.binding_id, head.delivery_id, head.due_at
    FROM unnest($3::uuid[], $4::uuid[]) AS looked (org_id, binding_id) LEFT JOIN LATERAL (
        SELECT delivery_id,
            CASE WHEN leased_until IS NULL OR generation < $5 THEN next_attempt_at
                ELSE greatest(leased_until, next_attempt_at) END AS due_at
        FROM deliveries
        WHERE deliveries.org_id = looked.org_id AND deliveries.binding_id = looked.binding_id AND state = 'pending'
        ORDER BY sequence LIMIT 1
    ) AS head ON true
), over AS (
    DELETE FROM due_threads USING heads
    WHERE due_threads.org_id = heads.org_id AND due_threads.binding_id = heads.binding_id AND heads.delivery_id IS NULL
), later AS (
    UPDATE due_threads SET due_at = heads.due_at FROM heads
    WHERE due_threads.org_id = heads.org_id AND due_threads.binding_id = heads.binding_id AND heads.due_at > $1
), due AS (
    -- Somebody who settles it, or sets it aside, goes first: this waits for nobody.
    SELECT deliveries.org_id, deliveries.delivery_id, deliveries.leased_until IS NOT NULL AS held
    FROM heads JOIN deliveries ON deliveries.org_id = heads.org_id AND deliveries.delivery_id = heads.delivery_id
    WHERE heads.due_at <= $1 AND deliveries.state = 'pending' AND deliveries.next_attempt_at <= $1
        AND (deliveries.leased_until IS NULL OR deliveries.leased_until <= $1 OR deliveries.generation < $5)
    FOR UPDATE OF deliveries SKIP LOCKED
), judged AS MATERIALIZED (
    -- Somebody held it and did not say what became of it: where a repeat would be a second message, or the channel is closed,
    -- nobody sends it. One that failed while its channel was being closed is given up.
    -- One that nobody held waits for the end of the period if its org has used its quota up.
    SELECT due.org_id, due.delivery_id, channels.channel_id, channels.kind, channels.destination,
        channels.secret_version, channels.deduplicates,
        due.held AND (NOT channels.deduplicates OR channels.closed_at IS NOT NULL) AS unknown,
        NOT due.held AND channels.closed_at IS NOT NULL AS closed,
        CASE WHEN NOT due.held AND channels.closed_at IS NULL THEN (
            SELECT max(CASE period WHEN 'day' THEN ($6::date + 1)::timestamp ELSE date_trunc('month', $6::timestamp) + interval '1 month' END)
            AT TIME ZONE 'UTC'
            FROM quotas
            WHERE quotas.org_id = due.org_id AND quotas.kind = 'deliveries'
                AND quantity_max <= (
                SELECT coalesce(sum(quantity), 0) FROM usage_counters AS used
                WHERE used.org_id = quotas.org_id AND used.kind = quotas.kind
                    AND used.day >= CASE period WHEN 'day' THEN $6::date ELSE date_trunc('month', $6::timestamp)::date END)
        ) END AS put_off_until,
        (SELECT channel_hosts FROM org_policies WHERE org_policies.org_id = due.org_id) AS channel_hosts
    FROM due JOIN deliveries USING (org_id, delivery_id)
        JOIN channels ON channels.org_id = deliveries.org_id AND channels.channel_id = deliveries.channel_id
)
UPDATE deliveries
SET state = CASE WHEN judged.unknown THEN 'unknown' WHEN judged.closed THEN 'dead' ELSE state END,
    leased_until = CASE WHEN judged.unknown OR judged.closed OR judged.put_off_until IS NOT NULL THEN NULL
        ELSE $2::timestamptz END,
    next_attempt_at = coalesce(judged.put_off_until, deliveries.next_attempt_at),
    finished_at = CASE WHEN judged.unknown OR judged.closed THEN $1 ELSE deliveries.finished_at END,
    last_error = CASE WHEN judged.unknown
        THEN 'the gateway that sent it was lost before it recorded the answer'
        WHEN judged.closed THEN 'its channel was closed' ELSE last_error END,
    attempt = attempt + CASE WHEN judged.unknown OR judged.closed OR judged.put_off_until IS NOT NULL THEN 0 ELSE 1 END,
    sendings = sendings + CASE WHEN judged.unknown OR judged.closed OR judged.put_off_until IS NOT NULL THEN 0 ELSE 1 END,
    generation = $5, fencing_counter = fencing_counter + 1
FROM judged
WHERE deliveries.org_id = judged.org_id AND deliveries.delivery_id = judged.delivery_id
RETURNING deliveries.org_id AS "org: OrgId", deliveries.delivery_id AS "delivery_id: DeliveryId",
    judged.channel_id AS "channel_id: ChannelId", judged.kind, judged.destination, judged.secret_version,
    judged.deduplicates, deliveries.payload, deliveries.attempt,
    deliveries.sendings AS sending, deliveries.generation, deliveries.fencing_counter,
    deliveries.created_at, deliveries.traceparent, judged.unknown AS "unknown!", judged.closed AS "closed!",
    judged.put_off_until IS NOT NULL AS "put_off!",
    judged.channel_hosts AS "channel_hosts?"

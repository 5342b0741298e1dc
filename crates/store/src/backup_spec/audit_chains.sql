-- backup_audit_chains: every sealed record in the order of its org's chain, beside the chain's head; an org that has either has a row
SELECT org_id, head.seal_number AS head_number, encode(head.seal_hash, 'hex') AS head_hash,
       record.seal_number AS number, record.audit_id, (extract(epoch FROM record.recorded_at) * 1000000)::bigint AS recorded_at_us,
       record.actor, record.action, record.target, record.detail::text AS detail,
       COALESCE(record.detail ->> 'title' = '[erased]', false) AS erased,
       encode(record.seal_salt, 'hex') AS salt, encode(record.seal_detail, 'hex') AS detail_digest,
       encode(record.seal_hash, 'hex') AS hash
FROM (SELECT * FROM audit_records WHERE seal_number IS NOT NULL) AS record FULL JOIN audit_heads AS head USING (org_id)
ORDER BY org_id, record.seal_number

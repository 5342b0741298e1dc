-- backup_key_versions: what `cowork admin verify` must be able to open
SELECT key_version AS version, count(*) AS ciphertexts
FROM (
    SELECT key_version FROM byok_keys WHERE revoked_at IS NULL
    UNION ALL
    SELECT key_version FROM org_keys
    UNION ALL
    SELECT key_version FROM idempotency_keys WHERE state = 'answered'
) AS sealed
GROUP BY key_version
ORDER BY key_version COLLATE "C"

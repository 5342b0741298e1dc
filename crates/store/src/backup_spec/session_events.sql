-- backup_session_events
SELECT org_id, session_id, sequence, kind, payload
FROM events
ORDER BY org_id, session_id, sequence

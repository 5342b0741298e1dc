-- backup_session_projections
SELECT org_id, session_id, sequence, content
FROM projections
ORDER BY org_id, session_id

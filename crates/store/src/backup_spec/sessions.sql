-- backup_sessions
SELECT s.org_id, s.session_id, s.last_sequence, p.sequence AS projection_sequence, s.checkpoint_id, s.generation,
       s.fencing_counter
FROM sessions s
LEFT JOIN projections p ON p.org_id = s.org_id AND p.session_id = s.session_id
ORDER BY s.org_id, s.session_id

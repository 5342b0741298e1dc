-- backup_slots
SELECT org_id, workflow_id, due_at, state
FROM slots
ORDER BY org_id, workflow_id, due_at

-- backup_runs
SELECT org_id, workflow_id, due_at, run_id, session_id
FROM runs
ORDER BY org_id, workflow_id, due_at

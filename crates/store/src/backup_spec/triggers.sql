-- backup_triggers
SELECT t.org_id, t.workflow_id, t.trigger_id, w.state AS workflow_state, t.kind, t.spec, t.next_due_at,
       w.missed_policy, w.missed_window_s, w.overlap_policy
FROM triggers t
JOIN workflows w ON w.org_id = t.org_id AND w.workflow_id = t.workflow_id
ORDER BY t.org_id, t.workflow_id, t.trigger_id

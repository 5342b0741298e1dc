-- backup_delivery_cursors
SELECT org_id, binding_id, session_id, sequence
FROM delivery_cursors
ORDER BY org_id, binding_id

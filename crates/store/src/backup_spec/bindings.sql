-- backup_bindings
SELECT org_id, binding_id, channel_id, session_id, thread
FROM bindings
ORDER BY org_id, binding_id

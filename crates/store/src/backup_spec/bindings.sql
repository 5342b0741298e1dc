-- backup_bindings
SELECT org_id, binding_id, channel_id, session_id, thread
FROM bindings
WHERE thread IS NOT NULL
ORDER BY org_id, binding_id

-- backup_checkpoints
SELECT org_id, session_id, checkpoint_id, sequence, manifest_key
FROM checkpoints
ORDER BY org_id, session_id, checkpoint_id

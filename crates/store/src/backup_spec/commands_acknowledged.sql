-- backup_commands_acknowledged: a command whose row is committed has been acknowledged to whoever gave it
SELECT org_id, session_id, command_id, ordinal, state
FROM commands
ORDER BY org_id, command_id

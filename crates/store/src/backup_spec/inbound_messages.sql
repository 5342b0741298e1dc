-- backup_inbound_messages
SELECT org_id, channel_id, provider_event_id, command_id
FROM inbound_messages
ORDER BY org_id, channel_id, provider_event_id COLLATE "C"

-- backup_watermarks: how far each kind of history had come
SELECT 'events: newest' AS name, to_json(max(created_at)) #>> '{}' AS value FROM events
UNION ALL SELECT 'commands: newest', to_json(max(created_at)) #>> '{}' FROM commands
UNION ALL SELECT 'commands: newest finished', to_json(max(finished_at)) #>> '{}' FROM commands
UNION ALL SELECT 'slots: newest claimed', to_json(max(claimed_at)) #>> '{}' FROM slots
UNION ALL SELECT 'deliveries: newest', to_json(max(created_at)) #>> '{}' FROM deliveries
UNION ALL SELECT 'deliveries: newest finished', to_json(max(finished_at)) #>> '{}' FROM deliveries
UNION ALL SELECT 'inbound messages: newest', to_json(max(received_at)) #>> '{}' FROM inbound_messages
UNION ALL SELECT 'calls of triggers: newest', to_json(max(received_at)) #>> '{}' FROM trigger_calls
UNION ALL SELECT 'usage records: newest', to_json(max(recorded_at)) #>> '{}' FROM usage_records
UNION ALL SELECT 'audit records: last position', max(position)::text FROM audit_records

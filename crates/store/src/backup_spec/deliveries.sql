-- backup_deliveries
SELECT org_id, delivery_id, binding_id, channel_id, sequence, state, attempt
FROM deliveries
ORDER BY org_id, delivery_id

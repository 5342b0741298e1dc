-- backup_artifacts
SELECT a.org_id, a.session_id, a.artifact_id, a.name, b.size, encode(b.sha256, 'hex') AS sha256, a.blob_key
FROM artifacts a
JOIN blobs b ON b.org_id = a.org_id AND b.blob_key = a.blob_key
ORDER BY a.org_id, a.session_id, a.artifact_id

-- backup_blobs
SELECT blob_key, size, encode(sha256, 'hex') AS sha256
FROM blobs
ORDER BY blob_key COLLATE "C"

-- Requests that came with an Idempotency-Key, and what they were answered. The running release knows nothing of it.
CREATE TABLE idempotency_keys (
    org_id uuid NOT NULL REFERENCES orgs,
    account_id uuid NOT NULL REFERENCES accounts (account_id),
    key text NOT NULL CHECK (length(key) BETWEEN 1 AND 200),
    request_digest bytea NOT NULL CHECK (length(request_digest) = 32),
    attempt_id uuid NOT NULL,
    state text NOT NULL CHECK (state IN ('running', 'carried_out', 'answered')),
    held_until timestamptz NOT NULL,
    status int,
    ciphertext bytea CHECK (length(ciphertext) <= 131072),
    wrapped_key bytea,
    key_version text,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, account_id, key),
    CHECK ((state = 'answered') = (status IS NOT NULL)),
    CHECK ((status IS NULL) = (ciphertext IS NULL)),
    CHECK ((ciphertext IS NULL) = (wrapped_key IS NULL) AND (ciphertext IS NULL) = (key_version IS NULL))
);
CREATE INDEX idempotency_keys_expires ON idempotency_keys (expires_at);
COMMENT ON COLUMN idempotency_keys.request_digest IS 'SHA-256 of token, method, address and body: a key stands for one request';
COMMENT ON COLUMN idempotency_keys.attempt_id IS 'who carries the request out; compared by the transaction of its effect';
COMMENT ON COLUMN idempotency_keys.state IS 'running: no effect yet; carried_out: set in the transaction of the effect; answered: it can be repeated';
COMMENT ON COLUMN idempotency_keys.held_until IS 'until then the attempt counts as alive';
COMMENT ON COLUMN idempotency_keys.status IS 'HTTP status of the answer; NULL: there is none yet, or none that was kept';
COMMENT ON COLUMN idempotency_keys.ciphertext IS 'the answer under a data key of its own: it may hold a secret that is shown once';
COMMENT ON COLUMN idempotency_keys.key_version IS 'version of the KMS key that wraps the data key';

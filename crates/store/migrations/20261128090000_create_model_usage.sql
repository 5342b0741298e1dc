-- What models took in turns, as their providers said. The running release knows nothing of it and writes none: its turns have their
-- tokens in usage_records alone.
CREATE TABLE model_usage (
    org_id uuid NOT NULL REFERENCES orgs,
    command_id uuid NOT NULL,
    provider text NOT NULL,
    model text NOT NULL CHECK (length(model) <= 128),
    input_tokens bigint NOT NULL CHECK (input_tokens >= 0),
    output_tokens bigint NOT NULL CHECK (output_tokens >= 0),
    cached_tokens bigint NOT NULL CHECK (cached_tokens >= 0),
    requests bigint NOT NULL CHECK (requests >= 0),
    requests_unknown bigint NOT NULL CHECK (requests_unknown BETWEEN 0 AND requests),
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, command_id, provider, model)
);
COMMENT ON COLUMN model_usage.command_id IS 'whose turn it was, with its lost attempts; a session that is erased leaves it behind';
COMMENT ON COLUMN model_usage.model IS 'as the provider names it; empty: it did not say';
COMMENT ON COLUMN model_usage.input_tokens IS 'cached ones included; part of the input_tokens of usage_records';
COMMENT ON COLUMN model_usage.cached_tokens IS 'of the input tokens, those that the provider still had from an earlier request';
COMMENT ON COLUMN model_usage.requests IS 'that were answered, or may have been';
COMMENT ON COLUMN model_usage.requests_unknown IS 'of them, those of which nobody said the whole use';
ALTER TABLE model_usage ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON model_usage USING (
    CASE current_setting('cowork.org', true) WHEN '*' THEN true WHEN org_id::text THEN true ELSE false END);

-- Ways to people outside: messages come in at a channel, deliveries go out to a thread of it.
CREATE TABLE channels (
    org_id uuid NOT NULL REFERENCES orgs,
    channel_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('webhook')),
    name text NOT NULL,
    destination text NOT NULL,
    secret_version text NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, channel_id)
);
CREATE UNIQUE INDEX channels_channel ON channels (channel_id);
COMMENT ON COLUMN channels.destination IS 'URL that deliveries are posted to';
COMMENT ON COLUMN channels.secret_version IS 'version of the channel secret that its signing secret is derived from';

CREATE TABLE bindings (
    org_id uuid NOT NULL,
    binding_id uuid NOT NULL,
    channel_id uuid NOT NULL,
    thread text NOT NULL CHECK (length(thread) BETWEEN 1 AND 200),
    session_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, binding_id),
    UNIQUE (org_id, channel_id, thread),
    FOREIGN KEY (org_id, channel_id) REFERENCES channels,
    FOREIGN KEY (org_id, session_id) REFERENCES sessions
);
CREATE INDEX bindings_session ON bindings (org_id, session_id);

CREATE TABLE delivery_cursors (
    org_id uuid NOT NULL,
    binding_id uuid NOT NULL,
    session_id uuid NOT NULL,
    sequence bigint NOT NULL CHECK (sequence >= 0),
    behind boolean NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, binding_id),
    FOREIGN KEY (org_id, binding_id) REFERENCES bindings
);
CREATE INDEX delivery_cursors_behind ON delivery_cursors (updated_at) WHERE behind;
CREATE INDEX delivery_cursors_session ON delivery_cursors (org_id, session_id);
COMMENT ON COLUMN delivery_cursors.sequence IS 'the last event that was rendered in the thread';
COMMENT ON COLUMN delivery_cursors.behind IS 'the session has events past sequence; set by the transaction that ends a turn';

CREATE TABLE inbound_messages (
    org_id uuid NOT NULL,
    channel_id uuid NOT NULL,
    provider_event_id text NOT NULL CHECK (length(provider_event_id) BETWEEN 1 AND 200),
    binding_id uuid NOT NULL,
    command_id uuid NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, channel_id, provider_event_id),
    FOREIGN KEY (org_id, channel_id) REFERENCES channels
);

CREATE TABLE deliveries (
    org_id uuid NOT NULL,
    delivery_id uuid NOT NULL,
    channel_id uuid NOT NULL,
    binding_id uuid NOT NULL,
    sequence bigint NOT NULL,
    payload jsonb NOT NULL,
    state text NOT NULL CHECK (state IN ('pending', 'sent', 'dead')),
    attempt int NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL,
    leased_until timestamptz,
    generation bigint NOT NULL DEFAULT 0,
    fencing_counter bigint NOT NULL DEFAULT 0,
    last_error text,
    created_at timestamptz NOT NULL,
    finished_at timestamptz,
    PRIMARY KEY (org_id, delivery_id),
    UNIQUE (org_id, binding_id, sequence),
    FOREIGN KEY (org_id, binding_id) REFERENCES bindings,
    FOREIGN KEY (org_id, channel_id) REFERENCES channels
);
CREATE INDEX deliveries_pending ON deliveries (next_attempt_at) WHERE state = 'pending';
CREATE INDEX deliveries_order ON deliveries (org_id, binding_id, sequence) WHERE state = 'pending';
COMMENT ON COLUMN deliveries.sequence IS 'the event that it renders';
COMMENT ON COLUMN deliveries.attempt IS 'how often it was handed to the provider';
COMMENT ON COLUMN deliveries.leased_until IS 'NULL: held by nobody';
COMMENT ON COLUMN deliveries.generation IS 'with fencing_counter: the fencing token of the newest claim, void in any later generation; 0: never claimed';
COMMENT ON COLUMN deliveries.last_error IS 'redacted; NULL: no attempt has failed';

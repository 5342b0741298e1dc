-- Which processes are alive. Unlogged: it says nothing about the past, survives no crash and no backup.
CREATE UNLOGGED TABLE role_instances (
    instance_id uuid PRIMARY KEY,
    roles text[] NOT NULL,
    generation bigint NOT NULL,
    started_at timestamptz NOT NULL,
    heartbeat_at timestamptz NOT NULL
);

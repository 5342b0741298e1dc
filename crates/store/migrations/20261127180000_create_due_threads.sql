-- Which threads have something to send, and when to look at each. Claims begin here, so that what waits behind the oldest
-- delivery of its thread costs nothing, however much of it there is. The running release claims as before: the triggers keep
-- the table whoever writes.
CREATE TABLE due_threads (
    org_id uuid NOT NULL,
    binding_id uuid NOT NULL,
    due_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, binding_id),
    FOREIGN KEY (org_id, binding_id) REFERENCES bindings
);
CREATE INDEX due_threads_due ON due_threads (due_at);
COMMENT ON COLUMN due_threads.due_at IS 'when its oldest pending delivery may be sent, or earlier: whoever looks and finds nothing to send corrects it, or removes the row';
ALTER TABLE due_threads ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON due_threads USING (
    CASE current_setting('cowork.org', true) WHEN '*' THEN true WHEN org_id::text THEN true ELSE false END);

-- A row that is there already is only locked: what is new stands behind the delivery that it is about. The lock waits for
-- somebody who is about to remove it.
CREATE FUNCTION due_threads_on_insert() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO due_threads (org_id, binding_id, due_at)
    SELECT org_id, binding_id, min(next_attempt_at) FROM added WHERE state = 'pending'
    GROUP BY org_id, binding_id ORDER BY org_id, binding_id
    ON CONFLICT (org_id, binding_id) DO UPDATE SET due_at = due_threads.due_at WHERE false;
    RETURN NULL;
END $$;
CREATE TRIGGER due_threads_on_insert AFTER INSERT ON deliveries REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION due_threads_on_insert();

-- What is over lets the next one of its thread go; what is claimed is looked at again when its lease is over.
CREATE FUNCTION due_threads_on_update() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO due_threads (org_id, binding_id, due_at)
    SELECT org_id, binding_id, min(CASE WHEN state = 'pending' THEN coalesce(leased_until, next_attempt_at)
        ELSE coalesce(finished_at, next_attempt_at) END)
    FROM changed GROUP BY org_id, binding_id ORDER BY org_id, binding_id
    ON CONFLICT (org_id, binding_id) DO UPDATE SET due_at = excluded.due_at;
    RETURN NULL;
END $$;
CREATE TRIGGER due_threads_on_update AFTER UPDATE ON deliveries REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION due_threads_on_update();

INSERT INTO due_threads (org_id, binding_id, due_at)
SELECT DISTINCT ON (org_id, binding_id) org_id, binding_id, next_attempt_at FROM deliveries
WHERE state = 'pending' ORDER BY org_id, binding_id, sequence;

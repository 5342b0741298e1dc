-- What was used, added up: by org, kind and day. Written by the statement that writes the usage record.
CREATE TABLE usage_counters (
    org_id uuid NOT NULL REFERENCES orgs,
    kind text NOT NULL,
    day date NOT NULL,
    stripe smallint NOT NULL CHECK (stripe BETWEEN 0 AND 7),
    quantity bigint NOT NULL CHECK (quantity >= 0),
    PRIMARY KEY (org_id, kind, day, stripe)
);
COMMENT ON COLUMN usage_counters.day IS 'in UTC; a month is the sum of its days';
COMMENT ON COLUMN usage_counters.stripe IS 'those who count at once mostly don''t wait for each other; the day is the sum of its stripes';
INSERT INTO usage_counters (org_id, kind, day, stripe, quantity)
SELECT org_id, kind, (recorded_at AT TIME ZONE 'UTC')::date, 0, sum(quantity) FROM usage_records GROUP BY 1, 2, 3;

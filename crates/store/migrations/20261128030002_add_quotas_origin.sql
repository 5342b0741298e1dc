-- Whose a quota is: the org's own, or of the plan that it is on. The running release takes all for the org's own; what it sets
-- meanwhile counts as that.
ALTER TABLE quotas
    ADD COLUMN origin text NOT NULL DEFAULT 'org' CHECK (origin IN ('org', 'plan', 'subscription')),
    ADD COLUMN own_period text CHECK (own_period IN ('day', 'month')),
    ADD COLUMN own_quantity_max bigint CHECK (own_quantity_max >= 0),
    ADD COLUMN plan_period text CHECK (plan_period IN ('day', 'month')),
    ADD COLUMN plan_quantity_max bigint CHECK (plan_quantity_max >= 0);
UPDATE quotas SET own_period = period, own_quantity_max = quantity_max;
COMMENT ON COLUMN quotas.origin IS 'what period and quantity_max, which are in force, come from: the org''s own quota, else the plan''s; before both a subscription that has ended';
COMMENT ON COLUMN quotas.own_quantity_max IS 'NULL: the org has none of its own';
COMMENT ON COLUMN quotas.plan_quantity_max IS 'NULL: the plan has none';

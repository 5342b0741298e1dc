-- What models took in some days is found without reading all that they ever took.
CREATE INDEX model_usage_recorded ON model_usage (org_id, recorded_at);

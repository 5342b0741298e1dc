-- Which agents a worker has. Processes of the running release don't say.
ALTER TABLE role_instances ADD COLUMN agents text[];
COMMENT ON COLUMN role_instances.agents IS 'of a worker: names of the agents that it can run; NULL: an older release, which does not say, or no worker';

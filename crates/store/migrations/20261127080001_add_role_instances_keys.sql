-- Which versions of the adapter key a process has. Processes of the running release don't say.
ALTER TABLE role_instances ADD COLUMN key_versions text[];
COMMENT ON COLUMN role_instances.key_versions IS 'the one that it seals under comes first; NULL: an older release, which does not say';

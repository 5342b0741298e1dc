-- A thread can be unbound. Its binding stays without the thread's name, since deliveries name it, and its cursor goes: so
-- the thread can be bound anew, and the running release, which joins bindings with their cursors, sees no unbound one.
ALTER TABLE bindings ALTER COLUMN thread DROP NOT NULL;
COMMENT ON COLUMN bindings.thread IS 'NULL: it was unbound, has no cursor and nothing is told in its thread any more';

-- What a subscription's billing provider says of it, and what of that is in force. The running release shows plan and state, of
-- which it knows no past_due, and changes neither.
ALTER TABLE subscriptions DROP CONSTRAINT subscriptions_state_check;
ALTER TABLE subscriptions
    ADD CONSTRAINT subscriptions_state_check CHECK (state IN ('active', 'past_due', 'cancelled')),
    ADD COLUMN provider text NOT NULL DEFAULT 'manual',
    ADD COLUMN customer text,
    ADD COLUMN reference text,
    ADD COLUMN period_ends_at timestamptz,
    ADD COLUMN changed_at timestamptz,
    ADD COLUMN confirmed_at timestamptz,
    ADD COLUMN refused_from timestamptz,
    ADD COLUMN refused boolean NOT NULL DEFAULT false,
    ADD COLUMN allows text NOT NULL DEFAULT '',
    ADD COLUMN version bigint NOT NULL DEFAULT 1;
CREATE INDEX subscriptions_reference ON subscriptions (provider, reference) WHERE reference IS NOT NULL;
CREATE INDEX subscriptions_refused_from ON subscriptions (refused_from) WHERE refused_from IS NOT NULL AND NOT refused;
COMMENT ON COLUMN subscriptions.provider IS 'who says what it is; manual: an operator does';
COMMENT ON COLUMN subscriptions.customer IS 'what the provider calls who pays; NULL: nobody does, or it did not say';
COMMENT ON COLUMN subscriptions.reference IS 'what the provider calls the subscription; NULL: it knows of none';
COMMENT ON COLUMN subscriptions.period_ends_at IS 'until when it is paid; NULL: the provider does not say';
COMMENT ON COLUMN subscriptions.changed_at IS 'when the provider says that it became so, by its clock; older news are not taken; NULL: there were none';
COMMENT ON COLUMN subscriptions.confirmed_at IS 'when it was said last that it is so, by our clock; before the present generation: it may have changed in the lost system; NULL: when it started';
COMMENT ON COLUMN subscriptions.refused_from IS 'from then on nothing new begins; NULL: it goes on';
COMMENT ON COLUMN subscriptions.refused IS 'whether the quotas say so already';
COMMENT ON COLUMN subscriptions.allows IS 'what the plan allowed when the quotas were made of it, as domain::plan writes it';
COMMENT ON COLUMN subscriptions.version IS 'grows with every change that people see; with started_at it names a state';

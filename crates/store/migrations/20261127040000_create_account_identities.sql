-- Who an account is at the provider that people sign in with. The running release knows nothing of it.
CREATE TABLE account_identities (
    issuer text NOT NULL CHECK (length(issuer) BETWEEN 1 AND 500),
    subject text NOT NULL CHECK (length(subject) BETWEEN 1 AND 255),
    account_id uuid NOT NULL REFERENCES accounts,
    linked_at timestamptz NOT NULL,
    PRIMARY KEY (issuer, subject),
    UNIQUE (account_id, issuer)
);
COMMENT ON COLUMN account_identities.issuer IS 'the provider, as it names itself';
COMMENT ON COLUMN account_identities.subject IS 'the person, as the provider names them; never given to somebody else';

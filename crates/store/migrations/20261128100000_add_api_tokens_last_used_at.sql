-- When API tokens were last used, and what they begin with. The running release writes neither.
ALTER TABLE api_tokens
    ADD COLUMN last_used_at timestamptz,
    ADD COLUMN prefix text;
COMMENT ON COLUMN api_tokens.last_used_at IS 'about a minute late: no request writes it; NULL: never, or not since it is noted, or the account was erased';
COMMENT ON COLUMN api_tokens.prefix IS 'what the token begins with: cow_ and four characters; NULL: made before that was kept, or the account was erased';

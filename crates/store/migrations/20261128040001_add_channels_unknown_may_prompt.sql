-- Whether anybody who writes at a channel may prompt. The running release lets everybody.
ALTER TABLE channels ADD COLUMN unknown_may_prompt boolean NOT NULL DEFAULT true;
COMMENT ON COLUMN channels.unknown_may_prompt IS 'whether messages of people of whom nobody said what they may do, or that name nobody, become prompts';

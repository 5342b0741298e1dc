-- What sessions are found by: the words of their titles, and their tags. The running release writes none, so sessions that it
-- begins are found when they are next renamed.
CREATE TABLE session_terms (
    org_id uuid NOT NULL,
    session_id uuid NOT NULL,
    term text COLLATE "C" NOT NULL,
    PRIMARY KEY (org_id, session_id, term),
    FOREIGN KEY (org_id, session_id) REFERENCES sessions
);
CREATE UNIQUE INDEX session_terms_term ON session_terms (org_id, term, session_id);
COMMENT ON COLUMN session_terms.term IS 'word:WORD or tag:TAG, in lower case; in byte order, so that no change of a locale unsorts it';
INSERT INTO session_terms (org_id, session_id, term)
SELECT DISTINCT org_id, session_id, 'word:' || left(word, 50)
FROM sessions, regexp_split_to_table(lower(title), '[^[:alnum:]]+') AS word WHERE word <> '';

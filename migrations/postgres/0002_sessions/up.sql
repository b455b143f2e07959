-- Sessions: what a trace says of them, what was spent, and budgets that nodes share.

ALTER TABLE trace ADD COLUMN authentication TEXT NOT NULL DEFAULT '';
ALTER TABLE trace ADD COLUMN role TEXT;
ALTER TABLE trace ADD COLUMN sector TEXT;
ALTER TABLE trace ADD COLUMN software TEXT;
ALTER TABLE trace ADD COLUMN motif TEXT;
ALTER TABLE trace ADD COLUMN session_id TEXT;
ALTER TABLE trace ADD COLUMN secret BOOLEAN NOT NULL DEFAULT FALSE;

-- Assertions and tokens that count once, whichever node they reach. A row may go after its instant.
CREATE TABLE spent (
    token TEXT NOT NULL PRIMARY KEY,
    until BIGINT NOT NULL
);
CREATE INDEX spent_until ON spent (until);

-- Requests of a caller in a window of time, where nodes share the budgets.
CREATE TABLE budget (
    key TEXT NOT NULL,
    since BIGINT NOT NULL,
    spent BIGINT NOT NULL,
    PRIMARY KEY (key, since)
);

-- Sessions: what a trace says of them, what was spent, and budgets that nodes share.

ALTER TABLE trace ADD COLUMN authentication TEXT NOT NULL DEFAULT '';
ALTER TABLE trace ADD COLUMN role TEXT;
ALTER TABLE trace ADD COLUMN sector TEXT;
ALTER TABLE trace ADD COLUMN software TEXT;
ALTER TABLE trace ADD COLUMN motif TEXT;
ALTER TABLE trace ADD COLUMN session_id TEXT;
ALTER TABLE trace ADD COLUMN secret INTEGER NOT NULL DEFAULT 0;

-- Assertions and tokens that count once, whichever node they reach. A row may go after its instant.
CREATE TABLE spent (
    token TEXT NOT NULL PRIMARY KEY,
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX spent_until ON spent (until);

-- Requests of a caller in a window of time, where nodes share the budgets.
CREATE TABLE budget (
    key TEXT NOT NULL,
    since INTEGER NOT NULL,
    spent INTEGER NOT NULL,
    PRIMARY KEY (key, since)
) STRICT, WITHOUT ROWID;

-- What each vaccination note says: the history of a record is made of it in the commit that keeps the note.
CREATE TABLE vaccination (
    document_id TEXT NOT NULL PRIMARY KEY,
    record_id TEXT NOT NULL,
    -- CIS code and day (YYYYMMDD), empty where the note does not say them: the same twice is one vaccination fed twice.
    vaccine TEXT NOT NULL,
    day TEXT NOT NULL,
    facts TEXT NOT NULL
);
CREATE INDEX vaccination_record ON vaccination (record_id);

-- The bytes of documents that the server makes, in the commit of their row.
CREATE TABLE made_body (
    binary_id TEXT NOT NULL PRIMARY KEY,
    record_id TEXT NOT NULL,
    bytes BYTEA NOT NULL
);
CREATE INDEX made_body_record ON made_body (record_id);

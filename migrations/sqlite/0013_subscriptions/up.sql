-- Software that follows records (docs/subscriptions.md). The resource as its owner sent it is sealed with the key of the record.
CREATE TABLE subscription (
    id TEXT NOT NULL PRIMARY KEY,
    record_id TEXT NOT NULL REFERENCES record (id),
    caller_id TEXT NOT NULL,
    caller TEXT NOT NULL,
    certificate TEXT NOT NULL,
    topic TEXT NOT NULL,
    filter TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    resource BLOB NOT NULL,
    status TEXT NOT NULL,
    fault TEXT,
    version INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    -- Since when documents are new to it, and up to where it was looked for changes.
    since INTEGER NOT NULL,
    looked_at INTEGER NOT NULL,
    until INTEGER NOT NULL,
    heartbeat INTEGER,
    -- When the next sign of life is due: moved by what is sent, and by nothing else.
    heartbeat_at INTEGER,
    -- Events that have a number.
    events INTEGER NOT NULL,
    changed INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    due INTEGER NOT NULL,
    leased_until INTEGER NOT NULL
) STRICT;
CREATE INDEX subscription_record ON subscription (record_id);
CREATE INDEX subscription_caller ON subscription (caller_id, created_at);
CREATE INDEX subscription_due ON subscription (due);

-- Documents that it was told of: that they are gone is told of no others. Those that were there when it began, and those that it was told are
-- gone (version -1), are not told of.
CREATE TABLE subscription_document (
    subscription_id TEXT NOT NULL REFERENCES subscription (id) ON DELETE CASCADE,
    document_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    told INTEGER NOT NULL,
    PRIMARY KEY (subscription_id, document_id)
) STRICT, WITHOUT ROWID;

-- What is still to be told, in order. The number comes with the first attempt.
CREATE TABLE subscription_event (
    subscription_id TEXT NOT NULL REFERENCES subscription (id) ON DELETE CASCADE,
    place INTEGER NOT NULL,
    kind TEXT NOT NULL,
    document_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    at INTEGER NOT NULL,
    number INTEGER,
    PRIMARY KEY (subscription_id, place)
) STRICT, WITHOUT ROWID;

-- Who reads the logs of traces, and how far.
CREATE TABLE log_cursor (
    reader TEXT NOT NULL,
    node TEXT NOT NULL,
    leaf INTEGER NOT NULL,
    PRIMARY KEY (reader, node)
) STRICT, WITHOUT ROWID;
INSERT INTO log_cursor SELECT 'notices', node, leaf FROM notice_cursor;
DROP TABLE notice_cursor;

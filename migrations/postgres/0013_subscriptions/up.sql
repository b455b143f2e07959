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
    resource BYTEA NOT NULL,
    status TEXT NOT NULL,
    fault TEXT,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    -- Since when documents are new to it, and up to where it was looked for changes.
    since BIGINT NOT NULL,
    looked_at BIGINT NOT NULL,
    until BIGINT NOT NULL,
    heartbeat BIGINT,
    -- When the next sign of life is due: moved by what is sent, and by nothing else.
    heartbeat_at BIGINT,
    -- Events that have a number.
    events BIGINT NOT NULL,
    changed BOOLEAN NOT NULL,
    attempts BIGINT NOT NULL,
    due BIGINT NOT NULL,
    leased_until BIGINT NOT NULL
);
CREATE INDEX subscription_record ON subscription (record_id);
CREATE INDEX subscription_caller ON subscription (caller_id, created_at);
CREATE INDEX subscription_due ON subscription (due);

-- Documents that it was told of: that they are gone is told of no others. Those that were there when it began, and those that it was told are
-- gone (version -1), are not told of.
CREATE TABLE subscription_document (
    subscription_id TEXT NOT NULL REFERENCES subscription (id) ON DELETE CASCADE,
    document_id TEXT NOT NULL,
    version BIGINT NOT NULL,
    told BOOLEAN NOT NULL,
    PRIMARY KEY (subscription_id, document_id)
);

-- What is still to be told, in order. The number comes with the first attempt.
CREATE TABLE subscription_event (
    subscription_id TEXT NOT NULL REFERENCES subscription (id) ON DELETE CASCADE,
    place BIGINT NOT NULL,
    kind TEXT NOT NULL,
    document_id TEXT NOT NULL,
    version BIGINT NOT NULL,
    at BIGINT NOT NULL,
    number BIGINT,
    PRIMARY KEY (subscription_id, place)
);

-- Who reads the logs of traces, and how far.
CREATE TABLE log_cursor (
    reader TEXT NOT NULL,
    node TEXT NOT NULL,
    leaf BIGINT NOT NULL,
    PRIMARY KEY (reader, node)
);
INSERT INTO log_cursor SELECT 'notices', node, leaf FROM notice_cursor;
DROP TABLE notice_cursor;

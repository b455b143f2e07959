-- The key that seals a record's documents, under an operator's key (docs/retention.md). Its row is what an erasure destroys.
CREATE TABLE record_key (
    record_id TEXT NOT NULL PRIMARY KEY REFERENCES record (id),
    operator_key TEXT NOT NULL,
    wrapped BYTEA NOT NULL
);
CREATE INDEX record_key_operator ON record_key (operator_key, record_id);

-- Keys of the operator's under which nothing is wrapped any more, and nothing will be.
CREATE TABLE retired_key (
    name TEXT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL
);

-- What was erased, when, why, and in which request: what a certificate of erasure is made of.
CREATE TABLE erasure (
    record_id TEXT NOT NULL PRIMARY KEY REFERENCES record (id),
    at BIGINT NOT NULL,
    basis TEXT NOT NULL,
    request_id TEXT NOT NULL,
    documents BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    key_destroyed BOOLEAN NOT NULL,
    -- Documents of before there were keys.
    unsealed BIGINT NOT NULL,
    -- When the traces of the record were erased, and in which request.
    traces_at BIGINT,
    traces_request_id TEXT
);
INSERT INTO erasure SELECT id, erased_at, 'patient', '', 0, 0, FALSE, 0, NULL, NULL FROM record WHERE erased_at IS NOT NULL;
UPDATE record SET closed_at = erased_at WHERE erased_at IS NOT NULL AND closed_at IS NULL;
CREATE INDEX record_closed ON record (closed_at) WHERE closed_at IS NOT NULL;

-- The request that erased what a trace said. Its place and its hash stay: the tree verifies.
ALTER TABLE trace ADD COLUMN erased_by TEXT;
CREATE INDEX trace_erased ON trace (erased_by) WHERE erased_by IS NOT NULL;

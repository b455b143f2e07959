-- Who is to be told of what was done (docs/notices.md). Made of the traces, each node's in order: the cursor says how far.
CREATE TABLE notice (
    id TEXT NOT NULL PRIMARY KEY,
    record_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    channel TEXT NOT NULL,
    -- Whom: the patient, or a professional (PS_IdNat).
    told TEXT NOT NULL,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    actor_kind TEXT NOT NULL,
    structure TEXT,
    mode TEXT NOT NULL,
    state TEXT NOT NULL,
    due BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    leased_until BIGINT NOT NULL,
    fault TEXT
);
CREATE INDEX notice_due ON notice (state, due);
CREATE INDEX notice_record ON notice (record_id);

CREATE TABLE notice_cursor (
    node TEXT NOT NULL PRIMARY KEY,
    leaf BIGINT NOT NULL
);

-- What else documents and submission sets are found by.

-- The instants at which the period of a document's act begins, and those at which its dates end (FHIR: a date is a period).
ALTER TABLE document ADD COLUMN creation_end BIGINT NOT NULL DEFAULT 0;
UPDATE document SET creation_end = creation + 1;
ALTER TABLE document ADD COLUMN period_start BIGINT;
ALTER TABLE document ADD COLUMN period_end BIGINT;

ALTER TABLE submission_set ADD COLUMN date BIGINT NOT NULL DEFAULT 0;
UPDATE submission_set SET date = created_at;
CREATE INDEX submission_set_record ON submission_set (record_id, date, id);
CREATE INDEX document_submission_set ON document (submission_set_id);

-- One of several values of a document or submission set: author, event, related, identifier, and what a List has.
-- token is system|value, value as it is compared.
CREATE TABLE search_term (
    owner_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    token TEXT COLLATE "C" NOT NULL,
    value TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (owner_id, kind, token)
);

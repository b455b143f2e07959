-- Records, what their holders decided, documents, and the trace of every call.
-- Identifiers are text, instants are microseconds since the epoch (UTC), resources are the text that was received.

CREATE TABLE record (
    id TEXT NOT NULL PRIMARY KEY,
    ins_system TEXT NOT NULL,
    ins_value TEXT NOT NULL,
    family_name TEXT NOT NULL,
    given_name TEXT NOT NULL,
    birth_date TEXT NOT NULL,
    open BOOLEAN NOT NULL,
    closed_at BIGINT,
    closing_reason TEXT,
    mon_espace_sante BOOLEAN NOT NULL,
    opposed_to_feeding BOOLEAN NOT NULL,
    opposed_to_bris_de_glace BOOLEAN NOT NULL,
    opposed_to_centre_15 BOOLEAN NOT NULL,
    masked_open_in_emergencies BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (ins_system, ins_value)
);

-- One row per record and holder (PS_IdNat or Struct_IdNat): authorised until an instant, or blocked.
CREATE TABLE authorisation (
    record_id TEXT NOT NULL REFERENCES record (id),
    holder TEXT NOT NULL,
    blocked BOOLEAN NOT NULL,
    since BIGINT NOT NULL,
    until BIGINT NOT NULL,
    consent_id TEXT NOT NULL,
    consent TEXT NOT NULL,
    PRIMARY KEY (record_id, holder)
);

CREATE TABLE medecin_traitant (
    record_id TEXT NOT NULL REFERENCES record (id),
    professional_id TEXT NOT NULL,
    since BIGINT NOT NULL,
    PRIMARY KEY (record_id, professional_id)
);

CREATE TABLE submission_set (
    id TEXT NOT NULL PRIMARY KEY,
    record_id TEXT NOT NULL REFERENCES record (id),
    author_id TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    resource TEXT NOT NULL
);

-- Clustered by record: a query reads neighbours.
CREATE TABLE document (
    record_id TEXT NOT NULL REFERENCES record (id),
    date BIGINT NOT NULL,
    id TEXT NOT NULL,
    unique_id TEXT NOT NULL,
    binary_id TEXT NOT NULL,
    submission_set_id TEXT NOT NULL,
    position INTEGER NOT NULL,
    version BIGINT NOT NULL,
    status TEXT NOT NULL,
    type_code TEXT NOT NULL,
    class_code TEXT NOT NULL,
    format_code TEXT NOT NULL,
    facility_code TEXT NOT NULL,
    setting_code TEXT NOT NULL,
    creation BIGINT NOT NULL,
    masked BOOLEAN NOT NULL,
    invisible_to_patient BOOLEAN NOT NULL,
    invisible_to_representatives BOOLEAN NOT NULL,
    archived BOOLEAN NOT NULL,
    author_id TEXT NOT NULL,
    author_structure TEXT,
    created_at BIGINT NOT NULL,
    sha256 TEXT NOT NULL,
    size BIGINT NOT NULL,
    content_type TEXT NOT NULL,
    body_key TEXT NOT NULL,
    fed_as TEXT NOT NULL,
    link INTEGER NOT NULL,
    resource TEXT NOT NULL,
    PRIMARY KEY (record_id, date, id)
);
CREATE UNIQUE INDEX document_id ON document (id);
CREATE UNIQUE INDEX document_unique_id ON document (unique_id);
CREATE UNIQUE INDEX document_binary_id ON document (binary_id);

-- Sets of document types that the habilitation matrix opens, named by their digest. Rows never change: a decision
-- names a set, and the query holds it.
CREATE TABLE readable_type (
    set_id TEXT NOT NULL,
    type_code TEXT NOT NULL,
    PRIMARY KEY (set_id, type_code)
);

-- Append-only: one row per request.
CREATE TABLE trace (
    sequence BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at BIGINT NOT NULL,
    request_id TEXT NOT NULL,
    operation TEXT NOT NULL,
    caller_kind TEXT NOT NULL,
    caller_id TEXT NOT NULL,
    caller_structure TEXT,
    certificate TEXT NOT NULL,
    mode TEXT NOT NULL,
    record_id TEXT,
    objects TEXT NOT NULL,
    status INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    rule TEXT NOT NULL
);

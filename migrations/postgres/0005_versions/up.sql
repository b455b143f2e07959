-- What a document was before each change of its metadata. Who may see a version is decided by what it was then, and by what the
-- document is now. Documents that were changed before this table have no older versions.
CREATE TABLE document_version (
    document_id TEXT NOT NULL,
    version BIGINT NOT NULL,
    status TEXT NOT NULL,
    masked BOOLEAN NOT NULL,
    invisible_to_patient BOOLEAN NOT NULL,
    invisible_to_representatives BOOLEAN NOT NULL,
    archived BOOLEAN NOT NULL,
    link INTEGER NOT NULL,
    resource TEXT NOT NULL,
    PRIMARY KEY (document_id, version)
);

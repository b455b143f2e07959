-- The Merkle tree over the traces of each node (RFC 6962). Traces of before have no place in it.
ALTER TABLE trace ADD COLUMN node TEXT;
ALTER TABLE trace ADD COLUMN leaf BIGINT;
ALTER TABLE trace ADD COLUMN leaf_hash BYTEA;
CREATE UNIQUE INDEX trace_leaf ON trace (node, leaf);

-- How far each node's tree goes, and how far the last checkpoint went: what is needed to go on with it.
CREATE TABLE trace_log (
    node TEXT NOT NULL PRIMARY KEY,
    size BIGINT NOT NULL,
    frontier BYTEA NOT NULL,
    checkpoint BYTEA NOT NULL
);

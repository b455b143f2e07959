-- The Merkle tree over the traces of each node (RFC 6962). Traces of before have no place in it.
ALTER TABLE trace ADD COLUMN node TEXT;
ALTER TABLE trace ADD COLUMN leaf INTEGER;
ALTER TABLE trace ADD COLUMN leaf_hash BLOB;
CREATE UNIQUE INDEX trace_leaf ON trace (node, leaf);

-- How far each node's tree goes, and how far the last checkpoint went: what is needed to go on with it.
CREATE TABLE trace_log (
    node TEXT NOT NULL PRIMARY KEY,
    size INTEGER NOT NULL,
    frontier BLOB NOT NULL,
    checkpoint BLOB NOT NULL
) STRICT;

DROP INDEX trace_erased;
ALTER TABLE trace DROP COLUMN erased_by;
DROP INDEX record_closed;
DROP TABLE erasure;
DROP TABLE retired_key;
DROP TABLE record_key;

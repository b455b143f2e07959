DROP TABLE trace_log;
DROP INDEX trace_leaf;
ALTER TABLE trace DROP COLUMN leaf_hash;
ALTER TABLE trace DROP COLUMN leaf;
ALTER TABLE trace DROP COLUMN node;

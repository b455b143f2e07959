DROP TABLE search_term;
DROP INDEX document_submission_set;
DROP INDEX submission_set_record;
ALTER TABLE submission_set DROP COLUMN date;
ALTER TABLE document DROP COLUMN period_end;
ALTER TABLE document DROP COLUMN period_start;
ALTER TABLE document DROP COLUMN creation_end;

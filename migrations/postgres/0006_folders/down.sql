DROP TABLE folder_entry;
DELETE FROM submission_set WHERE kind <> 'submissionset';
ALTER TABLE submission_set DROP COLUMN kind;

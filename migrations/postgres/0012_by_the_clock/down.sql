DROP INDEX notice_told;
ALTER TABLE notice DROP COLUMN objects;
DROP INDEX document_from_representatives;
DROP INDEX document_announced;
DROP INDEX authorisation_ending;
ALTER TABLE authorisation DROP COLUMN ended_at;

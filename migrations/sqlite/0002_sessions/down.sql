DROP TABLE budget;
DROP TABLE spent;
ALTER TABLE trace DROP COLUMN secret;
ALTER TABLE trace DROP COLUMN session_id;
ALTER TABLE trace DROP COLUMN motif;
ALTER TABLE trace DROP COLUMN software;
ALTER TABLE trace DROP COLUMN authentication;

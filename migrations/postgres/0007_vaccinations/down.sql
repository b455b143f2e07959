DROP TABLE made_body;
DROP TABLE vaccination;

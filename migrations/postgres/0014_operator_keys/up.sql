-- A row for each of the operator's keys under which a record's key was wrapped: who wraps under it holds the row together with others, who retires it holds
-- it alone. A lock of a row is what every engine has; one of a table is not.
CREATE TABLE operator_key (
    name TEXT NOT NULL PRIMARY KEY
);
INSERT INTO operator_key SELECT DISTINCT operator_key FROM record_key;

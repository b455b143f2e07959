DROP TABLE operator_key;

DROP TABLE trace;
DROP TABLE readable_type;
DROP TABLE document;
DROP TABLE submission_set;
DROP TABLE medecin_traitant;
DROP TABLE authorisation;
DROP TABLE record;

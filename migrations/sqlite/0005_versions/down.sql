DROP TABLE document_version;

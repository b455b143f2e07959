-- Folders (MHD): Lists beside the submission sets, that documents are filed in. A submission set holds the documents that were fed with
-- it, a folder those that somebody put there.
ALTER TABLE submission_set ADD COLUMN kind TEXT NOT NULL DEFAULT 'submissionset';
CREATE TABLE folder_entry (
    folder_id TEXT NOT NULL,
    document_id TEXT NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (folder_id, document_id)
);

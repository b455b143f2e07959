CREATE TABLE notice_cursor (
    node TEXT NOT NULL PRIMARY KEY,
    leaf BIGINT NOT NULL
);
INSERT INTO notice_cursor SELECT node, leaf FROM log_cursor WHERE reader = 'notices';
DROP TABLE log_cursor;
DROP TABLE subscription_event;
DROP TABLE subscription_document;
DROP TABLE subscription;

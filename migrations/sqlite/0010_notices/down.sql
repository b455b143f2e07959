DROP TABLE notice_cursor;
DROP TABLE notice;

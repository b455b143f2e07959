-- What ends by itself is noted once, by whichever node comes first (docs/patient-side.md).
ALTER TABLE authorisation ADD COLUMN ended_at INTEGER;
-- What ended before is known to have ended: it is told of in no trace, years later.
UPDATE authorisation SET ended_at = until WHERE NOT blocked AND until <= CAST(strftime('%s', 'now') AS INTEGER) * 1000000;
CREATE INDEX authorisation_ending ON authorisation (until) WHERE ended_at IS NULL;
CREATE INDEX document_announced ON document (visible_from) WHERE visible_from IS NOT NULL;
CREATE INDEX document_from_representatives ON document (record_id) WHERE invisible_to_representatives;

-- The documents that a notice of a feed tells of: looked at again before it goes out.
ALTER TABLE notice ADD COLUMN objects TEXT NOT NULL DEFAULT '';
CREATE INDEX notice_told ON notice (state, at);

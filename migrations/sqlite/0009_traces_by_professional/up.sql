-- A professional reads his own traces, the newest first.
CREATE INDEX trace_caller ON trace (caller_id, at, request_id);

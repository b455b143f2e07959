DROP INDEX trace_caller;

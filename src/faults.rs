//! Deliberate faults, for the controls of the test suite. Compiled with the feature `fault-injection` only, which no
//! release has; `habilis` says so at start.

/// `HABILIS_FAULT=acknowledge-before-commit`: the writer answers before it commits. The kill test must notice.
pub fn acknowledge_before_commit() -> bool {
    is("acknowledge-before-commit")
}

/// `HABILIS_FAULT=second-old-facts`: what is known of a record is kept in memory for a second. The test of new enemies must notice.
pub fn second_old_facts() -> bool {
    is("second-old-facts")
}

/// `HABILIS_FAULT=synchronous-normal`: SQLite does not wait for the disk at each commit. The power cuts must notice.
pub fn synchronous_normal() -> bool {
    is("synchronous-normal")
}

/// `HABILIS_FAULT=synchronous-commit-off`: nor does PostgreSQL.
pub fn synchronous_commit_off() -> bool {
    is("synchronous-commit-off")
}

/// `HABILIS_FAULT=serializable`: PostgreSQL's transactions that write are serializable, as an engine that knows no other isolation runs them. Nothing may differ.
pub fn serializable() -> bool {
    is("serializable")
}

/// `HABILIS_FAULT=slow-reads`: what is not an emergency reads for three seconds. Emergencies must not notice.
pub fn slow_reads() -> bool {
    is("slow-reads")
}

/// `HABILIS_FAULT=slow-reads,one-lane`: then they do.
pub fn one_lane() -> bool {
    is("one-lane")
}

/// The faults asked for, with commas between, if any.
pub fn requested() -> Option<String> {
    std::env::var("HABILIS_FAULT").ok()
}

fn is(name: &str) -> bool {
    requested().is_some_and(|requested| requested.split(',').any(|one| one == name))
}

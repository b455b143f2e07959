//! `habilis migrate`: the database, brought to the version of the program before its servers are.

use std::time::Instant;

use anyhow::Result;
use clap::Args;
use habilis::store::Store;
use indicatif::{ProgressBar, ProgressStyle};

use super::place::Place;

const HELP: &str = "\
Examples

  $ habilis migrate --dry-run --config habilis.toml    what the database lacks
  $ habilis migrate --config habilis.toml              one migration after the other; servers of the version before go on

`habilis serve` does the same when it starts. With several nodes: this first, then each node in turn (docs/scale.md).";

/// Bring the database to the version of this program.
#[derive(Args)]
#[command(after_help = HELP)]
pub struct Migrate {
    /// Say what is missing, and change nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    place: Place,
}

/// Runs it.
///
/// # Errors
/// The database cannot be reached or changed; what was migrated until then stays.
pub fn run(arguments: &Migrate) -> Result<()> {
    let places = arguments.place.read()?;
    let pending = Store::pending_migrations(&places.database)?;
    if arguments.dry_run {
        pending.iter().for_each(|name| println!("{name}"));
        println!("{} migrations are missing", pending.len());
        return Ok(());
    }
    let (bar, begun) = (ProgressBar::new(pending.len() as u64), Instant::now());
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} ({elapsed})")?);
    bar.enable_steady_tick(std::time::Duration::from_millis(100));
    let applied = Store::migrate(&places.database, |name| {
        bar.set_message(name.to_owned());
        bar.inc(1);
    });
    bar.finish_and_clear();
    println!("{} migrations in {:.1} s", applied?, begun.elapsed().as_secs_f64());
    Ok(())
}

//! `habilis keys`: the operator's keys, which wrap those of records.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Subcommand;
use habilis::environment::Environment;
use habilis::sealing::make_key_file;
use indicatif::{ProgressBar, ProgressStyle};

use super::place::{self, Place};

const HELP: &str = "\
A rotation, without a pause

  $ habilis keys new --folder /etc/habilis/operator-keys 2027-01     on one node; copy the file to the others
  # on each node: [encryption] current = \"2027-01\" beside the old key's file, and restart
  $ habilis keys rotate --config habilis.toml                        wraps the keys of all records anew
  $ habilis keys retire 2026-11 --config habilis.toml                refused while a record is under it; from then on no
                                                                     node wraps under it, one that was forgotten included
  # a backup; and then the file of the old key can be destroyed: with it, what older backups hold of records' keys

docs/retention.md has the whole of it.";

/// The operator's keys: make, rotate, count.
#[derive(Subcommand)]
#[command(after_help = HELP)]
pub enum KeysCommand {
    /// Make a new key: NAME.key in the folder, for nobody else to read.
    #[command(after_help = HELP)]
    New {
        /// The name, as 2027-01.
        name: String,
        /// The folder of the keys.
        #[arg(long)]
        folder: PathBuf,
    },
    /// Wrap the keys of all records under the current key.
    #[command(after_help = HELP)]
    Rotate(Place),
    /// Say how many records are under which key.
    #[command(after_help = HELP)]
    List(Place),
    /// Have no node wrap under a key any more: before its file is destroyed.
    #[command(after_help = HELP)]
    Retire {
        /// The name.
        name: String,
        #[command(flatten)]
        place: Place,
    },
}

/// How many keys are wrapped in one commit: the writer is not held for longer than a feed takes.
const BATCH: i64 = 200;

/// Runs it.
///
/// # Errors
/// What cannot be opened; an older key that is missing.
pub async fn run(command: KeysCommand) -> Result<()> {
    match command {
        KeysCommand::New { name, folder } => {
            make_key_file(&folder, &name)?;
            println!("{}", folder.join(format!("{name}.key")).display());
            Ok(())
        }
        KeysCommand::Rotate(place) => rotate(&place).await,
        KeysCommand::Retire { name, place } => retire(&name, &place).await,
        KeysCommand::List(place) => {
            let places = place.read()?;
            let store = place::store(&places)?;
            for (name, records) in store.read(|reader| reader.keys_by_operator_key()).await? {
                let current = if name == places.encryption.current { "   current" } else { "" };
                println!("{name}\t{records} records{current}");
            }
            Ok(())
        }
    }
}

async fn rotate(place: &Place) -> Result<()> {
    let places = place.read()?;
    let store = place::store(&places)?;
    let current = places.encryption.current.clone();
    let keys = store.read(|reader| reader.keys_by_operator_key()).await?;
    let others: Vec<&(String, i64)> = keys.iter().filter(|(name, _)| *name != current).collect();
    let bar = ProgressBar::new(u64::try_from(others.iter().map(|(_, records)| records).sum::<i64>())?);
    bar.set_style(ProgressStyle::with_template("{bar:30} {human_pos}/{human_len} {per_sec} ({elapsed})")?);
    let (mut wrapped, mut unopened) = (0, Vec::new());
    for (name, _) in others {
        let mut behind = String::new();
        loop {
            let batch = store.wrap_again(name, &behind, BATCH).await;
            let batch = batch.context("not all keys are wrapped anew: run it again")?;
            let Some(last) = batch.last else { break };
            behind = last;
            wrapped += batch.wrapped;
            unopened.extend(batch.unopened);
            bar.set_position(wrapped);
        }
    }
    bar.finish_and_clear();
    println!("{wrapped} keys of records wrapped under {current}");
    for record in &unopened {
        println!("the key of the record {record} does not open");
    }
    ensure!(unopened.is_empty(), "{} keys are as they were: is an older key's file missing?", unopened.len());
    Ok(())
}

async fn retire(name: &str, place: &Place) -> Result<()> {
    let places = place.read()?;
    ensure!(name != places.encryption.current, "{name} is the current key");
    let store = place::store(&places)?;
    let now = Environment::system().now().as_microsecond();
    ensure!(
        store.retire_key(name, now).await?,
        "keys of records are under {name}: `habilis keys rotate`, and restart every node with another current key"
    );
    println!("{name} is retired: no node wraps under it any more");
    println!(
        "Before its file is destroyed: a backup that was made since the rotation. Older ones open with it alone."
    );
    Ok(())
}

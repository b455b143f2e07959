//! `habilis keys`: the operator's keys, which wrap those of records.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Subcommand;
use habilis::sealing::make_key_file;
use indicatif::{ProgressBar, ProgressStyle};

use super::place::{self, Place};

const HELP: &str = "\
A rotation, without a pause

  $ habilis keys new --folder /etc/habilis/operator-keys 2027-01     on one node; copy the file to the others
  # on each node: [encryption] current = \"2027-01\" beside the old key's file, and restart
  $ habilis keys rotate --config habilis.toml                        wraps the keys of all records anew
  $ habilis keys list --config habilis.toml                          when no record is under the old key any more,
                                                                     its file can be destroyed: with it, every copy
                                                                     of a record's key in older backups

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
    let others = |keys: &[(String, i64)]| -> i64 {
        keys.iter().filter(|(name, _)| *name != current).map(|(_, records)| records).sum()
    };
    let left = others(&store.read(|reader| reader.keys_by_operator_key()).await?);
    let bar = ProgressBar::new(u64::try_from(left)?);
    bar.set_style(ProgressStyle::with_template("{bar:30} {human_pos}/{human_len} {per_sec} ({elapsed})")?);
    let mut wrapped = 0;
    loop {
        let of_batch = store.wrap_again(BATCH).await.context("not all keys are wrapped anew: run it again")?;
        if of_batch == 0 {
            break;
        }
        wrapped += of_batch as u64;
        bar.set_position(wrapped);
    }
    bar.finish_and_clear();
    let left = others(&store.read(|reader| reader.keys_by_operator_key()).await?);
    println!("{wrapped} keys of records wrapped under {current}, {left} left under others");
    ensure!(
        left == 0,
        "a server still wraps under another key: set [encryption] current there, and run it again"
    );
    Ok(())
}

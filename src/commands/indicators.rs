//! `habilis indicators`: counts for the SI-Pilotage, in which nobody is recognised.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;
use habilis::store::{Counted, DatabaseConnection, Indicator};
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::place::Place;

const HELP: &str = "\
Examples

  $ habilis indicators --from 2026-10-01 --until 2026-10-31 --output octobre.csv
  $ habilis indicators --config habilis.toml --from 2026-10-01 --until 2026-10-31 --threshold 11 --output octobre.csv

A line is: the indicator, the type of document or kind of caller, the age band or mode, the hour (UTC), the source, how many. What is counted less often
than the threshold stands nowhere, and no sum is told from which it could be worked out.";

/// Count what was fed, masked, deleted and read, for the SI-Pilotage: no identifier, nothing that is rare.
#[derive(Args)]
#[command(after_help = HELP)]
pub struct IndicatorArguments {
    #[command(flatten)]
    place: Place,
    /// From this day on (UTC).
    #[arg(long)]
    from: Date,
    /// To the end of this day (UTC).
    #[arg(long)]
    until: Date,
    /// Counts below this are left out.
    #[arg(long, default_value_t = 11, value_parser = clap::value_parser!(i64).range(2..))]
    threshold: i64,
    /// The CSV file to write.
    #[arg(long)]
    output: PathBuf,
}

/// Runs it.
///
/// # Errors
/// The database cannot be read, or the file not be made.
pub fn run(arguments: &IndicatorArguments) -> Result<()> {
    let database = arguments.place.read()?.database;
    ensure!(arguments.from <= arguments.until, "--from is at most --until");
    let start = |day: Date| -> Result<i64> { Ok(day.to_zoned(TimeZone::UTC)?.timestamp().as_microsecond()) };
    let (from, until) = (start(arguments.from)?, start(arguments.until.tomorrow()?)?);
    let mut connection = DatabaseConnection::open_for_reading(&database)?;
    let mut lines = Vec::new();
    let mut left_out = 0;
    for indicator in Indicator::ALL {
        let mut cells: BTreeMap<[String; 4], i64> = BTreeMap::new();
        for counted in indicator.count(&mut connection, from, until)? {
            *cells.entry(cell(indicator, &counted, arguments.until.year())).or_default() += counted.count;
        }
        for (cell, count) in cells {
            match count >= arguments.threshold {
                true => lines.push(format!("{},{},{count}", indicator.name(), cell.join(","))),
                false => left_out += 1,
            }
        }
    }
    let path = &arguments.output;
    let mut file =
        std::fs::File::create_new(path).with_context(|| format!("cannot make {}", path.display()))?;
    writeln!(file, "indicateur,type ou acteur,tranche d'âge ou mode,heure (UTC),source,nombre")?;
    for line in &lines {
        writeln!(file, "{line}")?;
    }
    file.sync_all()?;
    println!("{} lines; {left_out} counts below {} left out", lines.len(), arguments.threshold);
    Ok(())
}

/// In which cell something is counted: an age by its band, an author by what he is.
fn cell(indicator: Indicator, counted: &Counted, year: i16) -> [String; 4] {
    let hour = format!("{:02}", counted.hour);
    if indicator == Indicator::Accesses {
        return [counted.of.clone(), counted.group.clone(), hour, String::new()];
    }
    let band = match counted.group.parse::<i16>().map(|born| year - born) {
        Err(_) => "inconnue",
        Ok(..=17) => "0-17",
        Ok(18..=39) => "18-39",
        Ok(40..=64) => "40-64",
        Ok(65..=79) => "65-79",
        Ok(_) => "80 et plus",
    };
    let source = match counted.source.as_str() {
        "patient" => "patient",
        "DMP" => "DMP",
        "0" | "8" => "professionnel",
        "3" => "personnel de structure",
        "1" => "structure",
        _ => "autre",
    };
    [counted.of.clone(), band.to_owned(), hour, source.to_owned()]
}

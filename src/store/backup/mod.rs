//! Copies of a whole store, made while servers work on it, and their way back.
//!
//! The database first, as it is at one instant; then the bodies that it names. A body is written before its row and removed after it, so
//! each is there, but for one that was erased in between. Neither the operator's keys nor the one that signs traces is in a copy.
//!
//! A folder holds the last whole copy, and bodies that several copies in turn share. What is new lies beside it under names of its own until the
//! manifest, which names them, takes the place of the one before: a copy that breaks off leaves the last one as it was.

mod database;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aws_lc_rs::digest;
use diesel::prelude::*;
use futures_util::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::bodies::{BodyName, BodyStore, BodyStoreLocation, Copied, hex};
use super::engine::{self, DatabaseConnection, DatabaseUrl};
use super::keys::{KeyRow, sealing};
use super::schema::{document, record, record_key};
use super::small_bodies::{self, is_in_database, is_made};
use super::trace_log::LogState;
use crate::error::Failure;
use crate::sealing::{Segments, Vault, WrappedKey};

/// What a copy is, written when all of it is there: without it there is no copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Of this file: 1.
    pub format: u32,
    /// `sqlite`, `postgresql`.
    pub engine: String,
    /// When the copy was begun: what was acknowledged before is in it.
    pub begun_at: Timestamp,
    /// The last migration of the database.
    pub migration: String,
    /// Name of the database's file.
    pub database: String,
    /// Its digest, hexadecimal.
    pub sha256: String,
    /// Name of the folder of checkpoints.
    pub checkpoints: String,
    /// Records.
    pub records: i64,
    /// Documents that the database names.
    pub documents: u64,
    /// Records of which a body was erased between the copy of the database and that of the bodies.
    pub erased: BTreeSet<String>,
    /// Traces of before there was a log.
    pub unlogged: u64,
    /// How many traces the log of each node has.
    pub logs: BTreeMap<String, u64>,
}

/// A copy that is whole, and what the server lacked that an earlier copy still had.
#[derive(Debug)]
pub struct Copy {
    /// What it is.
    pub manifest: Manifest,
    /// Bodies that documents name and the server has lost, or altered: the copy has them, from before.
    pub lost_here: Vec<String>,
}

const MANIFEST: &str = "manifest.json";
const BODIES: &str = "bodies";
/// How many documents are looked at together, and how many bodies are under way.
const PAGE: i64 = 1_000;
const AT_ONCE: usize = 4;

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The database: so many bytes are written.
    Database(u64),
    /// So many of the documents.
    Documents(u64, u64),
}

/// One document as a copy sees it.
type BodyRow = (String, String, String, String, i64, Option<KeyRow>);

impl Manifest {
    /// Reads that of a copy.
    ///
    /// # Errors
    /// There is none, it is not whole, or of a newer program.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(MANIFEST);
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("{} is no whole copy: it has no {MANIFEST}", folder.display()))?;
        let manifest: Self = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        ensure!(manifest.format == 1, "the copy is of a newer version of the program");
        Ok(manifest)
    }

    fn write(&self, folder: &Path) -> Result<()> {
        let (made, path) = (folder.join("manifest.made"), folder.join(MANIFEST));
        let mut file = File::create(&made)?;
        file.write_all(serde_json::to_string_pretty(self)?.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&made, &path)?;
        File::open(folder)?.sync_all()?;
        Ok(())
    }
}

/// Copies database and bodies to a folder that nobody else copies to at this time. `checkpoints` has put those of before in the folder of its name.
///
/// # Errors
/// Something cannot be read or written, or a body is missing everywhere that a document names: then the folder holds the copy that it held.
pub async fn back_up(
    url: &DatabaseUrl,
    bodies: &BodyStore,
    folder: &Path,
    checkpoints: String,
    now: Timestamp,
    mut progress: impl FnMut(Progress),
) -> Result<Copy> {
    if let DatabaseUrl::Sqlite(path) = url {
        ensure!(path.exists(), "there is no database {}", path.display());
    }
    engine::must_be_of_this_version(&mut DatabaseConnection::open_for_reading(url)?)?;
    // What copies left that broke off: else each that finds no room takes some more.
    let last = Manifest::read(folder).ok();
    let kept = last.iter().flat_map(|last| [last.database.as_str(), last.checkpoints.as_str()]);
    remove_but(folder, &kept.chain([checkpoints.as_str()]).collect::<Vec<_>>())?;
    let engine = database::engine_of(url);
    let name = format!("database-{}.{engine}", now.strftime("%Y%m%dT%H%M%S%6fZ"));
    let file = folder.join(&name);
    let mut connection = database::copy(url, &file, &mut progress)?;
    File::open(&file)?.sync_all()?;
    let mut manifest = Manifest {
        format: 1,
        engine: engine.to_owned(),
        begun_at: now,
        migration: engine::last_migration(&mut connection)?,
        database: name,
        sha256: sha256_of(&file)?,
        checkpoints,
        records: record::table.count().get_result(&mut connection)?,
        documents: document::table.count().get_result::<i64>(&mut connection)?.unsigned_abs(),
        erased: BTreeSet::new(),
        unlogged: LogState::unlogged(&mut connection)?.unsigned_abs(),
        logs: LogState::all(&mut connection)?
            .into_iter()
            .map(|state| (state.node, state.size.unsigned_abs()))
            .collect(),
    };
    let named = named(&mut connection)?;
    // Nothing of the database is held while the bodies are copied: on PostgreSQL that would hold up a migration, and it everybody.
    drop(connection);
    let target = BodyStore::open(&BodyStoreLocation::Folder(folder.join(BODIES)))?;
    let mut copies = futures_util::stream::iter(&named)
        .map(|named| copy_one(named, bodies, &target))
        .buffer_unordered(AT_ONCE);
    // Those that lie in the database are there with it.
    let in_database = manifest.documents.saturating_sub(named.len() as u64);
    let (mut lost_here, mut done) = (Vec::new(), in_database);
    while let Some((named, copied)) = copies.try_next().await? {
        done += 1;
        progress(Progress::Documents(done, manifest.documents));
        match copied {
            Copied::There => {}
            // What was erased since an earlier copy is no loss.
            Copied::OnlyThere if is_named(url, &named.key)? => lost_here.push(named.key.clone()),
            Copied::OnlyThere => {}
            Copied::Nowhere => {
                let key = &named.key;
                ensure!(!is_named(url, key)?, "the body {key} is missing or altered, and a document names it");
                manifest.erased.insert(named.record_id.clone());
            }
        }
    }
    drop(copies);
    manifest.write(folder)?;
    remove_bodies_but(&named, &target).await?;
    remove_but(folder, &[&manifest.database, &manifest.checkpoints])?;
    Ok(Copy { manifest, lost_here })
}

/// A body of the body store, as a document names it.
struct Named {
    key: String,
    record_id: String,
    /// Bytes as it lies there.
    length: u64,
}

fn named(connection: &mut DatabaseConnection) -> Result<Vec<Named>> {
    let (mut named, mut behind) = (Vec::new(), String::new());
    loop {
        let rows = page(connection, &behind)?;
        let Some(last) = rows.last() else { return Ok(named) };
        behind.clone_from(&last.0);
        let (in_rows, elsewhere): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| is_in_database(&row.2));
        let binaries: Vec<&str> = in_rows.iter().map(|row| row.0.as_str()).collect();
        let lengths = small_bodies::lengths(connection, &binaries)?;
        for (binary_id, _, key, _, size, _) in &in_rows {
            // What the server made before there were keys lies as it was made.
            let (sealed, plain) = (Segments::of(size.unsigned_abs()).sealed(), size.unsigned_abs());
            let right =
                lengths.get(binary_id).is_some_and(|has| *has == sealed || is_made(key) && *has == plain);
            ensure!(right, "the body {key} is missing or altered in the database, and a document names it");
        }
        named.extend(elsewhere.into_iter().map(|(_, record_id, key, _, size, _)| {
            let length = length(&key, size);
            Named { key, record_id, length }
        }));
    }
}

fn length(key: &str, size: i64) -> u64 {
    match BodyStore::is_sealed(key) {
        true => Segments::of(size.unsigned_abs()).sealed(),
        false => size.unsigned_abs(),
    }
}

/// Whether a document of the server names a body now.
fn is_named(url: &DatabaseUrl, key: &str) -> Result<bool> {
    let Some(binary_id) = BodyStore::binary_of(key) else { return Ok(false) };
    let named: i64 = document::table
        .filter(document::binary_id.eq(binary_id))
        .count()
        .get_result(&mut DatabaseConnection::open_for_reading(url)?)?;
    Ok(named > 0)
}

async fn copy_one<'a>(
    named: &'a Named,
    bodies: &BodyStore,
    target: &BodyStore,
) -> Result<(&'a Named, Copied), Failure> {
    Ok((named, bodies.copy_to(target, &named.key, named.length).await?))
}

/// Removes databases and checkpoints of other copies.
fn remove_but(folder: &Path, kept: &[&str]) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let ours = name.starts_with("database-") || name.starts_with("checkpoints-");
        match ours && !kept.contains(&name.as_str()) {
            true if entry.path().is_dir() => std::fs::remove_dir_all(entry.path())?,
            true => std::fs::remove_file(entry.path())?,
            false => {}
        }
    }
    Ok(())
}

/// Removes bodies that were erased since an earlier copy.
async fn remove_bodies_but(named: &[Named], target: &BodyStore) -> Result<()> {
    let named: HashSet<&str> = named.iter().map(|named| named.key.as_str()).collect();
    let mut all = target.older_than(Timestamp::MAX, Duration::ZERO);
    while let Some(key) = all.try_next().await? {
        if !named.contains(key.as_str()) {
            target.remove(&key).await?;
        }
    }
    Ok(())
}

/// Brings database and bodies of a copy to where there are none, and sees whether each document opens. `verify` judges the traces of the database
/// before it is put in its place. One that broke off goes on when it is begun again.
///
/// # Errors
/// The copy is not whole, there is something else where it is to be, or a document does not open: the first is named.
pub async fn restore(
    folder: &Path,
    manifest: &Manifest,
    url: &DatabaseUrl,
    bodies: &BodyStore,
    vault: &Vault,
    mut progress: impl FnMut(Progress),
    verify: impl FnOnce(&mut DatabaseConnection) -> Result<()>,
) -> Result<()> {
    let engine = database::engine_of(url);
    ensure!(manifest.engine == engine, "the copy is of {}, the database is of {engine}", manifest.engine);
    let ours = engine::newest_migration(url)?;
    ensure!(
        manifest.migration == ours,
        "the copy is of migration {}, this program is of {ours}: restore with the version that copied, then `habilis migrate`",
        manifest.migration
    );
    let file = folder.join(&manifest.database);
    ensure!(sha256_of(&file)? == manifest.sha256, "{} is not as it was copied", file.display());
    let database = database::Restoring::begin(&file, manifest, url)?;
    let mut connection = database.read(url)?;
    let keys: HashSet<String> = named(&mut connection)?.into_iter().map(|named| named.key).collect();
    let mut there = bodies.older_than(Timestamp::MAX, Duration::ZERO);
    while let Some(key) = there.try_next().await? {
        ensure!(keys.contains(&key), "the body store has bodies of another server, {key} for one");
    }
    let source = BodyStore::open(&BodyStoreLocation::Folder(folder.join(BODIES)))?;
    let (mut behind, mut done) = (String::new(), 0);
    loop {
        let rows = page(&mut connection, &behind)?;
        let Some(last) = rows.last() else { break };
        behind.clone_from(&last.0);
        done += rows.len() as u64;
        let (in_rows, elsewhere): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| is_in_database(&row.2));
        for row in in_rows {
            let bytes = small_bodies::find(&mut connection, &row.0)?;
            let name = name(row, vault)?;
            small_bodies::opened(&name, bytes)
                .with_context(|| format!("the body {} does not open", name.key))?;
        }
        futures_util::stream::iter(elsewhere)
            .map(|row| back(row, manifest, &source, bodies, vault))
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;
        progress(Progress::Documents(done, manifest.documents));
    }
    ensure!(
        done == manifest.documents,
        "the database has {done} documents, the copy says {}",
        manifest.documents
    );
    verify(&mut connection)?;
    drop(connection);
    database.end()
}

/// One body, back and opened.
async fn back(
    row: BodyRow,
    manifest: &Manifest,
    source: &BodyStore,
    bodies: &BodyStore,
    vault: &Vault,
) -> Result<()> {
    let (_, record_id, key, _, size, _) = &row;
    match source.copy_to(bodies, key, length(key, *size)).await? {
        Copied::There | Copied::OnlyThere => {}
        Copied::Nowhere => {
            ensure!(
                manifest.erased.contains(record_id),
                "the body {key} is not in the copy, or not as long as it was"
            );
            return Ok(());
        }
    }
    let name = name(row, vault)?;
    bodies.get(&name).await.map(|_| ()).with_context(|| format!("the body {} does not open", name.key))
}

/// What the body of a row is opened by.
fn name((_, record_id, key, sha256, size, sealed_by): BodyRow, vault: &Vault) -> Result<BodyName, Failure> {
    let record_key =
        sealed_by.map(|kept| vault.open(&record_id, &WrappedKey::from(kept)).map_err(sealing)).transpose()?;
    Ok(BodyName { key, sha256, size: size.unsigned_abs(), record_key })
}

fn page(connection: &mut DatabaseConnection, behind: &str) -> QueryResult<Vec<BodyRow>> {
    document::table
        .left_join(record_key::table.on(record_key::record_id.eq(document::record_id)))
        .filter(document::binary_id.gt(behind))
        .order(document::binary_id.asc())
        .limit(PAGE)
        .select((
            document::binary_id,
            document::record_id,
            document::body_key,
            document::sha256,
            document::size,
            Option::<KeyRow>::as_select(),
        ))
        .load(connection)
}

fn sha256_of(file: &Path) -> Result<String> {
    let mut file = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    let (mut context, mut buffer) = (digest::Context::new(&digest::SHA256), vec![0; 1 << 20]);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hex(context.finish().as_ref()));
        }
        context.update(buffer.get(..read).unwrap_or_default());
    }
}

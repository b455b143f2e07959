//! The sandbox's homologation kit: runs with cards and patients of their own, and what was seen of them.

mod cast;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, anyhow, bail, ensure};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::json;

use super::demonstration::Recent;
use super::example::Example;
use super::fixtures::{self, TEST, call_of};
use crate::fhir::patch::Patch;
use crate::homologation::kit::{Act, Asked, Kit};
use crate::homologation::report::{CALLS, Report};
use crate::homologation::run::{Patient, Run};
use crate::homologation::seen::Seen;
use crate::operations::feed::{self, Form};
use crate::operations::{Services, update_document};
use crate::pki::PkiFolder;
use crate::server::DirectoryFiles;
use crate::store::{DatabaseUrl, DocumentKey, NewState, Step, Switches};
use cast::{PREPARED, Prepared, ROLES, cards, homonyms, patient, professional_id};

/// See the module.
#[derive(Debug)]
pub(super) struct SandboxKit {
    data: PathBuf,
    certs: PathBuf,
    authorities: PathBuf,
    database: DatabaseUrl,
    services: Arc<Services>,
    /// One call is written at a time.
    calls: Mutex<()>,
    /// One run is opened, or one card made, at a time: they share a PKI.
    opening: Arc<tokio::sync::Mutex<()>>,
    /// The runs, whose calls are kept.
    open: Mutex<Vec<Run>>,
    /// The last calls of everybody.
    recent: Arc<Recent>,
    directory: DirectoryFiles,
}

impl SandboxKit {
    pub(super) fn new(
        data: &Path,
        certs: &Path,
        database: DatabaseUrl,
        services: Arc<Services>,
        recent: Arc<Recent>,
        directory: DirectoryFiles,
        opening: Arc<tokio::sync::Mutex<()>>,
    ) -> Self {
        Self {
            data: data.to_owned(),
            certs: certs.to_owned(),
            authorities: certs.join("ca.pem"),
            database,
            services,
            calls: Mutex::new(()),
            open: Mutex::new(Run::all(data).unwrap_or_default()),
            opening,
            recent,
            directory,
        }
    }

    fn write(&self, seen: &Seen) -> Result<()> {
        let folder = Run::folder_of(&self.data);
        let line = serde_json::to_string(seen)? + "\n";
        let _one = self.calls.lock().map_err(|_| anyhow!("another call was not written"))?;
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(folder.join(CALLS))?;
        Ok(file.write_all(line.as_bytes())?)
    }

    /// The folder of a new run: whoever makes it has the number.
    fn new_folder(&self) -> Result<Run> {
        let folder = Run::folder_of(&self.data);
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        for number in 1..=9_999 {
            let run = Run { id: format!("R{number:04}"), ..Run::default() };
            match std::fs::create_dir(run.folder(&self.data)) {
                Ok(()) => return Ok(run),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).context(run.id),
            }
        }
        bail!("there are 9,999 runs: begin the sandbox anew")
    }

    async fn open_run(&self, asked: Asked) -> Result<Run> {
        asked.check()?;
        let _one = self.opening.lock().await;
        let mut run = self.new_folder()?;
        let environment = &self.services.environment;
        (run.name, run.software, run.profile) = (asked.name, asked.software, asked.profile);
        run.opened = environment.now().to_string();
        let number = run.number();
        let doctors = [professional_id(number, 0), professional_id(number, 1)];
        let (pki, cards, now) = (PkiFolder::new(&self.certs), cards(number), environment.now());
        let (prefix, written) = (run.id.to_ascii_lowercase(), run.clone());
        // RSA keys: as long as many requests.
        run = tokio::task::spawn_blocking(move || {
            let mut run = written;
            for card in cards {
                let name = format!("{prefix}-{}", card.name);
                run.serials.push(pki.issue(&name, &card.holder, now)?.serial);
                if let (Some(id), Some(profession)) = (&card.holder.id, card.holder.profession) {
                    for structure in card.activities {
                        pki.note_activity(id, profession, structure)?;
                    }
                    run.professionals.push(id.clone());
                }
                run.cards.insert(name, card.whose.to_owned());
            }
            anyhow::Ok(run)
        })
        .await??;
        // Who is told that the run is open may use its cards at once.
        super::take_directory(&self.directory, &self.services).await?;
        for homonym in homonyms() {
            self.bare_record(&homonym).await?;
        }
        run.patients = self.patients(number, &doctors).await?;
        run.write(&self.data)?;
        self.open.lock().map_err(|_| anyhow!("another run was not opened"))?.push(run.clone());
        Ok(run)
    }

    async fn patients(&self, number: u32, doctors: &[String; 2]) -> Result<BTreeMap<String, Patient>> {
        let mut patients = BTreeMap::new();
        for (order, role) in ROLES.iter().enumerate() {
            let mut patient = patient(number, order, role);
            if role.name != "inexistant" {
                patient.record_id = self.record(&patient, role.name, doctors).await?;
            }
            patients.insert(role.name.to_owned(), patient);
        }
        Ok(patients)
    }

    /// A record with nothing in it, unless it is there.
    async fn bare_record(&self, patient: &Patient) -> Result<()> {
        let Patient { ins, family, given, birth_date, .. } = patient;
        let new = fixtures::new_record(&self.services, TEST, ins, family, given, birth_date);
        fixtures::create(&self.services, new).await?;
        Ok(())
    }

    async fn record(&self, patient: &Patient, role: &str, doctors: &[String; 2]) -> Result<String> {
        let services = &self.services;
        let now = services.environment.now().as_microsecond();
        let new = fixtures::new_record(
            services,
            TEST,
            &patient.ins,
            &patient.family,
            &patient.given,
            &patient.birth_date,
        );
        let closed = role == "ferme";
        let new = crate::store::NewRecord {
            open: !closed,
            closed_at: closed.then_some(now),
            closing_reason: closed.then(|| "DEMANDE_PATIENT".to_owned()),
            opposed_to_centre_15: role == "sansquinze",
            masked_open_in_emergencies: role == "urgence",
            ..new
        };
        let id = new.id.clone();
        fixtures::create(services, new).await?;
        let [doctor, other] = doctors;
        match role {
            "autorise" | "mineur" => fixtures::standing(services, &id, doctor, false, i64::MAX).await?,
            "complet" => {
                fixtures::standing(services, &id, doctor, false, i64::MAX).await?;
                fixtures::standing(services, &id, other, false, i64::MAX).await?;
                self.documents(patient, other).await?;
                fixtures::standing(services, &id, other, true, i64::MAX).await?;
            }
            "expire" => fixtures::standing(services, &id, doctor, false, now - 1).await?,
            "bloquant" => {
                fixtures::standing(services, &id, doctor, false, i64::MAX).await?;
                fixtures::standing(services, &id, other, true, i64::MAX).await?;
            }
            "traite" => {
                fixtures::medecin_traitant(services, &id, doctor).await?;
                self.document(
                    patient,
                    other,
                    &Prepared { labels: &["N", "MASQUE_PS"], ..Prepared::default() },
                    0,
                )
                .await?;
            }
            "urgence" => {
                self.document(
                    patient,
                    other,
                    &Prepared { labels: &["N", "MASQUE_PS"], ..Prepared::default() },
                    0,
                )
                .await?;
            }
            _ => {}
        }
        Ok(id)
    }

    /// What is to be found and read in the complete record.
    async fn documents(&self, patient: &Patient, author: &str) -> Result<()> {
        for (number, prepared) in PREPARED.iter().enumerate() {
            let unique_id = self.document(patient, author, prepared, number).await?;
            if prepared.archived {
                let call = call_of(&self.services, author, AUTHOR, "sandbox: prepared document");
                let patch = json!([{ "op": "add", "path": "/extension/-", "value": {
                    "url": crate::fhir::document_reference::IS_ARCHIVED, "valueBoolean": true,
                } }]);
                let patch = Patch::of_json_patch(&patch.to_string())?;
                update_document::run(&call, DocumentKey::UniqueId(format!("urn:oid:{unique_id}")), patch, None)
                    .await?
                    .into_inner()?;
            }
        }
        Ok(())
    }

    async fn document(
        &self,
        patient: &Patient,
        author: &str,
        prepared: &Prepared,
        number: usize,
    ) -> Result<String> {
        let unique_id = format!("2.25.1100{}{number:02}", patient.ins);
        let example = Example {
            labels: prepared.labels,
            author,
            type_code: prepared.type_code,
            class_code: prepared.class_code,
            ..Example::new(TEST, &patient.ins, &patient.family, &unique_id)
        };
        let transaction = match prepared.bytes {
            None => example.transaction(),
            Some((media, format, bytes)) => {
                let mut document = example.document_reference(bytes);
                for (at, member, said) in [
                    ("/content/0/attachment", "contentType", json!(media)),
                    ("/content/0/format", "code", json!(format)),
                    ("/content/0/format", "system", json!(FORMATS)),
                ] {
                    if let Some(element) = document.pointer_mut(at) {
                        crate::fhir::json::set(element, member, said);
                    }
                }
                example.transaction_of(document, bytes)
            }
        };
        let call = call_of(&self.services, author, AUTHOR, "sandbox: prepared document");
        feed::run(&call, Form::Transaction, transaction).await?.into_inner()?;
        Ok(unique_id)
    }

    async fn patient_acts(&self, id: &str, role: &str, act: Act) -> Result<()> {
        let run = Run::read(&self.data, id)?;
        let patient = run.patients.get(role).context("there is no such patient in this run")?;
        ensure!(!patient.record_id.is_empty(), "this patient has no record");
        let services = &self.services;
        let doctor = professional_id(run.number(), 0);
        if matches!(act, Act::Block | Act::Unblock) {
            ensure!(AUTHORISED.contains(&role), "this patient has authorised nobody whom it could block");
        }
        let opposes = |opposed| Switches { opposed_to_feeding: Some(opposed), ..Switches::default() };
        match act {
            Act::Block => {
                return fixtures::standing(services, &patient.record_id, &doctor, true, i64::MAX).await;
            }
            Act::Unblock => {
                return fixtures::standing(services, &patient.record_id, &doctor, false, i64::MAX).await;
            }
            Act::Oppose | Act::Allow | Act::Close | Act::Reopen => {}
        }
        let (grant, record_id) = (fixtures::patient_side(services)?, patient.record_id.clone());
        let context = fixtures::trace(services, "sandbox: patient's decision");
        let entry = context.granted(200, "sandbox", Some(&record_id), &[]);
        let done = services
            .store
            .writer()
            .commit(move |transaction| {
                match act {
                    Act::Oppose => transaction.set_switches(&grant, &record_id, opposes(true))?,
                    Act::Allow => transaction.set_switches(&grant, &record_id, opposes(false))?,
                    Act::Close => {
                        let reason = "DEMANDE_PATIENT".to_owned();
                        transaction.set_state(&grant, &record_id, &NewState::Closed { reason }, context.at)?;
                    }
                    _ => transaction.set_state(&grant, &record_id, &NewState::Open, context.at)?,
                }
                Ok(Step { value: (), trace: entry.clone(), keep: true })
            })
            .await?;
        done.into_inner();
        Ok(())
    }
}

impl Kit for SandboxKit {
    fn note(&self, seen: &Seen, watched: bool) {
        self.recent.note(seen);
        if watched && let Err(error) = self.write(seen) {
            tracing::warn!(error = format!("{error:#}"), "a call is not written down for the homologation kit");
        }
    }

    fn watches(&self, certificate: &str) -> bool {
        self.open.lock().is_ok_and(|open| open.iter().any(|run| run.has_card(certificate)))
    }

    fn runs(&self) -> Result<Vec<Run>> {
        Run::all(&self.data)
    }

    fn report(&self, id: &str) -> Result<Report> {
        Report::of(&self.data, &self.database, id)
    }

    fn card(&self, id: &str, name: &str, kind: &str) -> Result<PathBuf> {
        let run = Run::read(&self.data, id)?;
        ensure!(run.cards.contains_key(name), "the run has no such card");
        ensure!(["pem", "key", "p12"].contains(&kind), "a card is pem, key or p12");
        Ok(self.certs.join(format!("{name}.{kind}")))
    }

    fn authorities(&self) -> &Path {
        &self.authorities
    }

    fn open(&self, asked: Asked) -> BoxFuture<'_, Result<Run>> {
        self.open_run(asked).boxed()
    }

    fn act<'a>(&'a self, id: &'a str, patient: &'a str, act: Act) -> BoxFuture<'a, Result<()>> {
        self.patient_acts(id, patient, act).boxed()
    }
}

/// Who has authorised the first doctor: blocked and unblocked, they are as they were.
const AUTHORISED: [&str; 4] = ["autorise", "complet", "mineur", "bloquant"];

/// TRE_A11.
const FORMATS: &str = "https://mos.esante.gouv.fr/NOS/TRE_A11-IheFormatCode/FHIR/TRE-A11-IheFormatCode";
const AUTHOR: &str = "AUTEUR DEMONSTRATION";

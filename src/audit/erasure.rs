//! The certificate of an erasure: what was erased, when and why, with the proof that the log says so.

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::checkpoint::{CheckpointFolders, Verifier};
use super::erased::signed_words;
use super::proof::InclusionProof;
use crate::store::{DatabaseConnection, ERASING, Erased, ErasureRow, TraceRow};

/// The name of this form of certificate.
const FORM: &str = "habilis erasure 1";

/// What is shown to whoever may ask: the holder, his heirs, the CNIL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErasureCertificate {
    /// [`FORM`].
    pub certificate: String,
    /// In words, in French.
    pub text: String,
    /// Our identifier of the record: nothing else of it is left.
    pub record: String,
    /// When, UTC.
    pub erased_at: String,
    /// `patient`, `retention`.
    pub basis: String,
    /// Documents, those deleted before included.
    pub documents: i64,
    /// Bytes of them.
    pub bytes: i64,
    /// Whether a key was destroyed; a record that was never fed had none.
    pub key_destroyed: bool,
    /// Documents that were fed before there were keys, and lay unsealed.
    pub never_sealed: i64,
    /// That the log says so.
    pub proof: InclusionProof,
}

impl ErasureCertificate {
    /// Of a record.
    ///
    /// # Errors
    /// Nothing was erased of it, it was erased before there were certificates, or the log does not say so.
    pub fn of(
        connection: &mut DatabaseConnection,
        folders: &CheckpointFolders,
        verifier: &Verifier,
        record: &str,
    ) -> Result<Self> {
        let row = ErasureRow::of_record(connection, record)?;
        let row = row.with_context(|| format!("the record {record} is not erased, or is not known"))?;
        ensure!(!row.request_id.is_empty(), "the record was erased before there were certificates");
        let trace = TraceRow::of_erasure(connection, record, &row.request_id)?
            .context("there is no trace of the erasure: see `habilis audit verify`")?;
        let proof = InclusionProof::of(connection, folders, verifier, &trace)?;
        let at = Timestamp::from_microsecond(row.at)?;
        let mut certificate = Self {
            certificate: FORM.to_owned(),
            text: String::new(),
            record: row.record_id,
            erased_at: at.to_string(),
            basis: row.basis,
            documents: row.documents,
            bytes: row.bytes,
            key_destroyed: row.key_destroyed,
            never_sealed: row.unsealed,
            proof,
        };
        certificate.text = certificate.words()?;
        certificate.check(verifier)?;
        Ok(certificate)
    }

    /// Reads one.
    ///
    /// # Errors
    /// It is none.
    pub fn read(value: &serde_json::Value) -> Result<Self> {
        let read: Self =
            serde_json::from_value(value.clone()).context("the file is no certificate of erasure")?;
        ensure!(read.certificate == FORM, "a certificate of another form");
        Ok(read)
    }

    /// Sees whether it holds: the trace is in the log, and says what the certificate says.
    ///
    /// # Errors
    /// What does not hold.
    pub fn check(&self, verifier: &Verifier) -> Result<()> {
        self.proof.check(verifier)?;
        let said = |name: &str| self.proof.trace.get(name).and_then(|value| value.as_str()).unwrap_or_default();
        let erased = Erased {
            documents: self.documents,
            bytes: self.bytes,
            key_destroyed: self.key_destroyed,
            unsealed: self.never_sealed,
            bodies: Vec::new(),
        };
        let at: Timestamp = self.erased_at.parse().context("erasedAt")?;
        let at = self.proof.trace.get("at").and_then(serde_json::Value::as_i64) == Some(at.as_microsecond());
        let operation = match self.basis.as_str() {
            "patient" => ERASING[0],
            "retention" => ERASING[1],
            _ => bail!("a basis that is not known"),
        };
        ensure!(
            said("operation") == operation && said("outcome") == "granted",
            "the trace is of something else"
        );
        ensure!(said("recordId") == self.record && at, "the trace is of another record or time");
        // The proof says that the trace was written; the signature, that it is of an erasure that was made.
        let row = self.proof.row().context("the trace lacks something")?;
        let words = signed_words(&row, verifier).context("the erasure is not signed by the key")?;
        ensure!(
            words.ends_with(&format!("; {}", erased.told())),
            "the trace does not say what the certificate says"
        );
        ensure!(self.text == self.words()?, "the words are not those of the certificate");
        Ok(())
    }

    /// In words, in French.
    fn words(&self) -> Result<String> {
        let at: Timestamp = self.erased_at.parse().context("erasedAt")?;
        let day = at.to_zoned(jiff::tz::TimeZone::UTC).strftime("%d/%m/%Y à %H:%M:%S UTC").to_string();
        let basis = match self.basis.as_str() {
            "patient" => "à la demande de son titulaire",
            _ => "dix ans après sa clôture (article L. 1111-18 du code de la santé publique)",
        };
        let key = match (self.key_destroyed, self.documents) {
            (true, _) => {
                "La clé de chiffrement du dossier a été détruite dans la base : aucun document chiffré n’y est plus lisible. Les sauvegardes \
                 antérieures le restent jusqu’à la destruction de la clé d’exploitation qui protégeait cette clé, ou leur propre expiration."
            }
            (false, 0) => "Le dossier n’avait pas de clé de chiffrement : rien n’y avait été déposé.",
            (false, _) => "Le dossier n’avait pas de clé de chiffrement.",
        };
        let unsealed = match self.never_sealed {
            0 => String::new(),
            count => {
                format!(" {count} document(s), déposé(s) avant le chiffrement, n’étai(en)t pas chiffré(s).")
            }
        };
        Ok(format!(
            "Attestation d’effacement. Le dossier médical partagé {} a été effacé le {day}, {basis} : {} document(s), \
             {} octet(s), l’identité et les autorisations. {key}{unsealed}",
            self.record, self.documents, self.bytes
        ))
    }
}

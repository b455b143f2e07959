//! The SI Mon espace santé: the one client that speaks for the patient, recognised by a list of certificates of its own.

use crate::certificate::{CertificateFacts, CertificateKind};

/// Certificates that speak for the patient: Struct_IdNat and common name, each an organisation's AUTH_CLI certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PatientSideList(Vec<(String, String)>);

/// A connection that speaks for the patient. Made from the list alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatientSide {
    structure: String,
}

impl PatientSideList {
    /// The list; each entry is Struct_IdNat and common name.
    pub fn new(entries: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(entries.into_iter().collect())
    }

    /// The patient's side, if the certificate is on the list.
    pub fn recognise(&self, facts: &CertificateFacts) -> Option<PatientSide> {
        let structure = facts.subject.structure.as_deref()?;
        let listed =
            |(listed, name): &(String, String)| listed == structure && *name == facts.subject.common_name;
        let listed = facts.kind == CertificateKind::OrganisationClient && self.0.iter().any(listed);
        listed.then(|| PatientSide { structure: structure.to_owned() })
    }

    /// The patient's side of the sandbox's own fixtures, if the list has it.
    pub fn first(&self) -> Option<PatientSide> {
        let (structure, _) = self.0.first()?;
        Some(PatientSide { structure: structure.clone() })
    }
}

impl PatientSide {
    /// Struct_IdNat, for traces.
    pub fn structure(&self) -> &str {
        &self.structure
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    /// Structure, common name and kind of the certificate: each of them, or it is nobody who speaks for the patient.
    #[test]
    fn the_list_alone_makes_it() {
        let entry = ("1750000044".to_owned(), "MES".to_owned());
        let list = PatientSideList::new([("1750000010".to_owned(), "X".to_owned()), entry]);
        let facts = |kind, structure: Option<&str>, name: &str| CertificateFacts {
            kind,
            subject: crate::certificate::Subject {
                common_name: name.to_owned(),
                family_name: None,
                given_name: None,
                organisation: None,
                structure: structure.map(str::to_owned),
                title: None,
            },
            profession: None,
            future_profession: None,
            specialities: Vec::new(),
        };
        let client = CertificateKind::OrganisationClient;
        let side = list.recognise(&facts(client, Some("1750000044"), "MES"));
        assert_eq!(side.as_ref().map(PatientSide::structure), Some("1750000044"));
        for (kind, structure, name) in [
            (client, Some("1750000044"), "X"),
            (client, Some("1750000010"), "MES"),
            (client, None, "MES"),
            (CertificateKind::OrganisationSeal, Some("1750000044"), "MES"),
        ] {
            assert_eq!(list.recognise(&facts(kind, structure, name)), None, "{kind:?} {structure:?} {name}");
        }
        assert_eq!(list.first().as_ref().map(PatientSide::structure), Some("1750000010"));
        assert_eq!(PatientSideList::default().first(), None);
    }
}

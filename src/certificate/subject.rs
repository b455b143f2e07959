//! The distinguished name, attribute by attribute.

use std::fmt;

use x509_parser::der_parser::asn1_rs::{Oid, oid};
use x509_parser::prelude::X509Name;

use super::kind::Unusable;

pub(super) const COMMON_NAME: Oid<'static> = oid!(2.5.4.3);
const SURNAME: Oid<'static> = oid!(2.5.4.4);
const ORGANISATION: Oid<'static> = oid!(2.5.4.10);
const ORGANISATIONAL_UNIT: Oid<'static> = oid!(2.5.4.11);
const SERIAL_NUMBER: Oid<'static> = oid!(2.5.4.5);
const TITLE: Oid<'static> = oid!(2.5.4.12);
const GIVEN_NAME: Oid<'static> = oid!(2.5.4.42);

/// The holder as the certificate names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// `CN`: the national identifier of a person; free text for an organisation.
    pub common_name: String,
    /// `SN`. Absent on an unnamed staff card.
    pub family_name: Option<String>,
    /// `GN`. Absent on an unnamed staff card.
    pub given_name: Option<String>,
    /// `O`, the organisation's name.
    pub organisation: Option<String>,
    /// `OU`, the structure's national identifier.
    pub structure: Option<String>,
    /// `title`, a label of the profession or of the card.
    pub title: Option<String>,
}

impl Subject {
    pub(super) fn read(name: &X509Name<'_>) -> Result<Self, Unusable> {
        // Not used, and not to stand twice either: another reader might use it.
        single(name, &SERIAL_NUMBER)?;
        Ok(Self {
            common_name: single(name, &COMMON_NAME)?.ok_or(Unusable::NoCommonName)?,
            family_name: single(name, &SURNAME)?,
            given_name: single(name, &GIVEN_NAME)?,
            organisation: single(name, &ORGANISATION)?,
            structure: single(name, &ORGANISATIONAL_UNIT)?,
            title: single(name, &TITLE)?,
        })
    }
}

/// As people read it: person, label, identifier, organisation.
impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let person =
            [&self.given_name, &self.family_name].into_iter().flatten().cloned().collect::<Vec<_>>().join(" ");
        let organisation = match (&self.organisation, &self.structure) {
            (Some(name), Some(id)) => format!("{name} ({id})"),
            (name, id) => name.as_ref().or(id.as_ref()).cloned().unwrap_or_default(),
        };
        let parts =
            [person.as_str(), self.title.as_deref().unwrap_or_default(), &self.common_name, &organisation];
        let said = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>();
        formatter.write_str(&said.join(", "))
    }
}

/// The value of an attribute that may stand once. Twice is refused: two readers would take two different ones.
pub(super) fn single(name: &X509Name<'_>, attribute: &Oid<'static>) -> Result<Option<String>, Unusable> {
    let mut found = None;
    for value in name.iter_by_oid(attribute) {
        if found.is_some() {
            return Err(Unusable::RepeatedAttribute);
        }
        let text = value.as_str().map_err(|_| Unusable::UnreadableName)?;
        if text.is_empty() || text.chars().any(is_invisible) {
            return Err(Unusable::UnreadableName);
        }
        found = Some(text.to_owned());
    }
    Ok(found)
}

/// Control characters, and those that change how the rest is shown: zero width, and the directions of writing.
pub fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

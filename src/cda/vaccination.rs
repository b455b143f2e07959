//! What a vaccination note says (CI-SIS, VAC-NOTE 2023.01): the entry FR-Vaccination of its section FR-Vaccinations.

use roxmltree::Node;
use serde::{Deserialize, Serialize};

use super::header::{CdaFault, HL7, child, is, within};
use super::metadata::{Code, Person, attribute, children, code, path, person, text};

/// The entry FR-Vaccination (CI-SIS).
const FR_VACCINATION: &str = "1.2.250.1.213.1.1.3.45";
/// The OID of CIS codes, the vaccines of the public drug database.
pub(super) const CIS: &str = "1.2.250.1.213.2.3.1";
/// FR-Rang-de-la-vaccination.
const RANK: &str = "1.2.250.1.213.1.1.3.82";
/// FR-Probleme, here a reaction.
const REACTION: &str = "1.2.250.1.213.1.1.3.37";
/// FR-Commentaire-ER.
const COMMENT: &str = "1.2.250.1.213.1.1.3.32";

/// One vaccination. What the note does not say is empty or absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vaccination {
    /// `id/@root`, a UUID (EX_2.1-2030).
    pub id: String,
    /// Kind of act.
    pub act: Option<Code>,
    /// `effectiveTime`, as exact as it is: a `TS` of HL7 v3.
    pub time: String,
    /// Way of administration.
    pub route: Option<Code>,
    /// Where on the body.
    pub site: Option<Code>,
    /// The vaccine, a CIS code where it is known.
    pub vaccine: Code,
    /// The same in ATC, CIP.
    pub translations: Vec<Code>,
    /// Its name.
    pub name: String,
    /// Number of the lot.
    pub lot: String,
    /// Who vaccinated.
    pub performer: Option<Person>,
    /// Which of a series.
    pub rank: Option<String>,
    /// Reactions that were seen.
    pub reactions: Vec<Code>,
    /// A comment.
    pub comment: String,
}

impl Vaccination {
    /// The vaccinations of a note. There should be one: after the second no more are read.
    ///
    /// # Errors
    /// Why the bytes are no acceptable CDA document.
    pub fn read_all(bytes: &[u8]) -> Result<Vec<Self>, CdaFault> {
        within(bytes, |document, _| {
            let sections = children(document, "component")
                .filter_map(|component| child(component, "structuredBody"))
                .flat_map(|body| children(body, "component"))
                .filter_map(|component| child(component, "section"));
            let entries = sections.flat_map(|section| children(section, "entry"));
            Ok(entries
                .filter_map(|entry| child(entry, "substanceAdministration"))
                .filter(|act| has_template(*act, FR_VACCINATION))
                .take(2)
                .map(read)
                .collect())
        })
    }

    /// The CIS code of the vaccine; empty where the note has another code, or none.
    pub fn cis(&self) -> &str {
        if self.vaccine.system == CIS { &self.vaccine.code } else { "" }
    }

    /// The day, YYYYMMDD; empty where the note does not say it so exactly.
    pub fn day(&self) -> &str {
        self.time.get(..8).filter(|day| day.bytes().all(|byte| byte.is_ascii_digit())).unwrap_or_default()
    }
}

fn has_template(node: Node<'_, '_>, root: &str) -> bool {
    children(node, "templateId").any(|template| template.attribute("root") == Some(root))
}

fn read(act: Node<'_, '_>) -> Vaccination {
    let material = path(act, &["consumable", "manufacturedProduct", "manufacturedMaterial"]);
    let vaccine = material.and_then(|material| child(material, "code"));
    let of_material = |name| material.and_then(|material| child(material, name)).map(text).unwrap_or_default();
    let related = |template: &'static str| {
        children(act, "entryRelationship")
            .flat_map(|relationship| relationship.children().filter(Node::is_element))
            .filter(move |node| has_template(*node, template))
    };
    // Dates of HL7 v3 as they are: one that is none says nothing.
    let time = child(act, "effectiveTime").map(|node| match child(node, "low") {
        Some(low) => attribute(low, "value"),
        None => attribute(node, "value"),
    });
    let is_time = |time: &String| {
        let digits = time.split(['+', '-', '.']).next().unwrap_or_default();
        digits.bytes().all(|byte| byte.is_ascii_digit()) && (4..=14).contains(&digits.len())
    };
    Vaccination {
        id: child(act, "id").map(|id| attribute(id, "root")).unwrap_or_default(),
        act: child(act, "code").map(code),
        time: time.filter(is_time).unwrap_or_default(),
        route: child(act, "routeCode").map(code),
        site: child(act, "approachSiteCode").map(code),
        vaccine: vaccine.map(code).unwrap_or_default(),
        translations: vaccine.into_iter().flat_map(|code| children(code, "translation")).map(code).collect(),
        name: of_material("name"),
        lot: of_material("lotNumberText"),
        performer: path(act, &["performer", "assignedEntity"]).map(person),
        rank: related(RANK).next().and_then(|rank| child(rank, "value")).map(|value| attribute(value, "value")),
        reactions: related(REACTION).filter_map(|reaction| child(reaction, "value")).map(code).collect(),
        comment: related(COMMENT)
            .next()
            .and_then(|comment| child(comment, "text"))
            .map(words)
            .unwrap_or_default(),
    }
}

/// The text of an element that refers to the narrative: its own words, else those that it refers to.
fn words(node: Node<'_, '_>) -> String {
    let own = text(node);
    if !own.is_empty() {
        return own;
    }
    let Some(name) = child(node, "reference").and_then(|reference| reference.attribute("value")) else {
        return own;
    };
    let name = name.trim_start_matches('#');
    let root = node.document().root_element();
    let named = root.descendants().find(|node| is(*node, HL7, "content") && node.attribute("ID") == Some(name));
    named.map(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn day_and_cis_are_those_that_are_exact() {
        let of = |time: &str, system: &str| Vaccination {
            time: time.into(),
            vaccine: Code { code: "6".into(), system: system.into(), display: String::new() },
            ..Vaccination::default()
        };
        let exact = of("20090928094914+0100", CIS);
        assert_eq!((exact.day(), exact.cis()), ("20090928", "6"));
        let vague = of("200909", "2.16.840.1.113883.6.73");
        assert_eq!((vague.day(), vague.cis()), ("", ""));
    }
}

//! The registry of practice software: which product, in which versions, was homologated for what.
//!
//! A table with tabs: homologation id, name, lowest version, highest version (empty: none), profiles (`Alimentation`,
//! `Consultation`, `WebPS`, with commas), state (`actif`, `suspendu`, `retire`).

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use anyhow::{Result, bail, ensure};

use super::scope::{Scopes, Transaction};
use crate::error::{Reason, Refusal};

/// What a software says that it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Software {
    /// `LPS_Nom`.
    pub name: String,
    /// `LPS_Version`.
    pub version: String,
    /// `LPS_ID_HOMOLOGATION_DMP`.
    pub homologation_id: Option<String>,
    /// The registry knows it so. Else it is marked in traces.
    pub registered: bool,
}

impl Software {
    /// For traces.
    pub fn label(&self) -> String {
        let id = self.homologation_id.as_deref().unwrap_or("-");
        let mark = if self.registered { "" } else { " (unregistered)" };
        format!("{} {} {id}{mark}", self.name, self.version)
    }
}

/// A profile of homologation (EX_AIR-010 among others).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Profile {
    /// Feeds.
    Alimentation,
    /// Searches and reads.
    Consultation,
    /// Opens the national web portal in context.
    WebPs,
}

impl Profile {
    fn of(name: &str) -> Option<Self> {
        match name {
            "Alimentation" => Some(Profile::Alimentation),
            "Consultation" => Some(Profile::Consultation),
            "WebPS" => Some(Profile::WebPs),
            _ => None,
        }
    }

    fn scopes(self) -> Scopes {
        // Whoever feeds or reads first asks whether there is a record.
        match self {
            Profile::Alimentation => {
                // With what an author needs to take back his own (EX_3.3-1060).
                [
                    Transaction::TestExistence,
                    Transaction::ProvideBundle,
                    Transaction::Publish,
                    Transaction::ReadPatient,
                    Transaction::LookUp,
                    Transaction::Update,
                ]
                .into_iter()
                .collect()
            }
            Profile::Consultation => {
                let feeds = [Transaction::ProvideBundle, Transaction::Publish].into_iter().collect();
                Scopes::all().without(feeds)
            }
            Profile::WebPs => Scopes::default(),
        }
    }
}

/// Whether a product may be used now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Active,
    Suspended,
    Withdrawn,
}

#[derive(Debug)]
struct Product {
    name: String,
    lowest: String,
    highest: String,
    profiles: Vec<Profile>,
    state: State,
}

/// What happens to software that the registry does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unregistered {
    /// It is served, and marked in the traces.
    #[default]
    Marked,
    /// It is refused, and so is a call that names no software.
    Refused,
}

/// See the module.
#[derive(Debug, Default)]
pub struct SoftwareRegistry {
    products: HashMap<String, Product>,
    allowed: Option<HashSet<String>>,
    unregistered: Unregistered,
}

/// What a software may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// As it goes into token and traces.
    pub software: Option<Software>,
    /// At most these.
    pub scopes: Scopes,
    /// Known to be homologated for consultation.
    pub consults: bool,
}

impl SoftwareRegistry {
    /// Reads the table. `allowed`: homologation ids, and no others are served.
    ///
    /// # Errors
    /// Names the line that cannot be read.
    pub fn parse(table: &str, allowed: Option<HashSet<String>>, unregistered: Unregistered) -> Result<Self> {
        let mut products = HashMap::new();
        for line in table.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
            let columns: Vec<&str> = line.split('\t').collect();
            let [id, name, lowest, highest, profiles, state] = columns[..] else {
                bail!("not six columns: « {line} »");
            };
            let mut known = Vec::new();
            for profile in profiles.split(',') {
                match Profile::of(profile) {
                    Some(profile) => known.push(profile),
                    None => bail!("« {profile} » is no profile"),
                }
            }
            let state = match state {
                "actif" => State::Active,
                "suspendu" => State::Suspended,
                "retire" => State::Withdrawn,
                other => bail!("« {other} » is no state"),
            };
            let product = Product {
                name: name.to_owned(),
                lowest: lowest.to_owned(),
                highest: highest.to_owned(),
                profiles: known,
                state,
            };
            ensure!(products.insert(id.to_owned(), product).is_none(), "{id} stands twice");
        }
        Ok(Self { products, allowed, unregistered })
    }

    /// No product at all.
    pub fn is_empty(&self) -> bool {
        self.products.is_empty()
    }

    /// Judges what a call says of its software. `None`: it says nothing.
    ///
    /// # Errors
    /// [`Reason::SoftwareRefused`].
    pub fn admit(&self, named: Option<&Software>) -> Result<Admitted, Refusal> {
        let refused = |why: &'static str| {
            Refusal::new(Reason::SoftwareRefused, why).by("registry of software (LPS_ID_HOMOLOGATION_DMP)")
        };
        let id = named.and_then(|software| software.homologation_id.as_deref());
        if let Some(allowed) = &self.allowed
            && !id.is_some_and(|id| allowed.contains(id))
        {
            return Err(refused("this software is not on the list of those that are served"));
        }
        let product = id.and_then(|id| self.products.get(id));
        // The state first: a suspension is not dodged by another version or name.
        match product.map(|product| product.state) {
            Some(State::Suspended) => return Err(refused("the homologation of this software is suspended")),
            Some(State::Withdrawn) => return Err(refused("the homologation of this software was withdrawn")),
            Some(State::Active) | None => {}
        }
        let fault = match (product, named) {
            (None, _) | (_, None) => Some("the registry has no software of this homologation id"),
            (Some(product), Some(software)) if software.name != product.name => {
                Some("lps_nom is not the name under which the software was homologated")
            }
            (Some(product), Some(software)) if !product.has(&software.version) => {
                Some("lps_version is not one for which the homologation stands")
            }
            _ => None,
        };
        if let Some(why) = fault.filter(|_| self.unregistered == Unregistered::Refused) {
            return Err(refused(why));
        }
        let registered = fault.is_none();
        Ok(Admitted {
            software: named.map(|software| Software { registered, ..software.clone() }),
            // Who says a known id has its profiles and no more, whatever version it says.
            scopes: product.map_or_else(Scopes::all, Product::scopes),
            consults: registered
                && product.is_some_and(|product| product.profiles.contains(&Profile::Consultation)),
        })
    }
}

impl Product {
    fn scopes(&self) -> Scopes {
        self.profiles.iter().fold(Scopes::default(), |all, one| all.or(one.scopes()))
    }

    fn has(&self, version: &str) -> bool {
        compare(version, &self.lowest) != Ordering::Less
            && (self.highest.is_empty() || compare(version, &self.highest) != Ordering::Greater)
    }
}

/// Versions part by part: numbers as numbers, `2.10` after `2.9`.
fn compare(one: &str, other: &str) -> Ordering {
    let part =
        |text: &str| text.parse::<u64>().map_or_else(|_| (1, 0, text.to_owned()), |n| (0, n, String::new()));
    let parts = |text: &str| text.split(['.', '-']).map(part).collect::<Vec<_>>();
    parts(one).cmp(&parts(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "DMP-1\tLogiciel\t2.0\t2.99\tAlimentation,Consultation\tactif\n\
                         DMP-2\tAncien\t1\t\tAlimentation\tactif\n\
                         DMP-3\tSuspendu\t1\t\tConsultation\tsuspendu\n";

    fn registry(unregistered: Unregistered) -> SoftwareRegistry {
        SoftwareRegistry::parse(TABLE, None, unregistered).unwrap()
    }

    fn named(name: &str, version: &str, id: &str) -> Software {
        let homologation_id = (!id.is_empty()).then(|| id.to_owned());
        Software { name: name.into(), version: version.into(), homologation_id, registered: false }
    }

    #[test]
    fn a_registered_product_has_the_scopes_of_its_profiles() {
        let registry = registry(Unregistered::Refused);
        let both = registry.admit(Some(&named("Logiciel", "2.10", "DMP-1"))).unwrap();
        assert!(both.consults && both.software.unwrap().registered);
        assert_eq!(both.scopes, Scopes::all());
        let feeds = registry.admit(Some(&named("Ancien", "7", "DMP-2"))).unwrap();
        assert_eq!(feeds.scopes.to_string(), "TD0.2 ITI-65 ITI-105 TD1.3a TD3.1b TD3.3");
        assert!(!feeds.consults);
    }

    #[test]
    fn what_the_registry_does_not_know_is_refused_or_marked() {
        let refuses = |software: Option<Software>| {
            let refusal = registry(Unregistered::Refused).admit(software.as_ref()).unwrap_err();
            refusal.issues[0].diagnostics.to_string()
        };
        assert!(refuses(None).contains("no software"));
        assert!(refuses(Some(named("Autre", "2.1", "DMP-1"))).contains("lps_nom"));
        assert!(refuses(Some(named("Logiciel", "1.9", "DMP-1"))).contains("lps_version"));
        assert!(refuses(Some(named("Logiciel", "3.0", "DMP-1"))).contains("lps_version"));
        let marking = registry(Unregistered::Marked);
        let marked = marking.admit(Some(&named("Autre", "1", ""))).unwrap();
        assert_eq!(marked.software.unwrap().label(), "Autre 1 - (unregistered)");
        assert_eq!(marking.admit(None).unwrap().software, None);
        // A version that is not homologated gives no more than one that is.
        let other = marking.admit(Some(&named("Ancien", "0.1", "DMP-2"))).unwrap();
        assert_eq!(other.scopes.to_string(), "TD0.2 ITI-65 ITI-105 TD1.3a TD3.1b TD3.3");
        assert!(!other.software.unwrap().registered);
    }

    #[test]
    fn suspension_and_allow_list_refuse_in_any_case() {
        for version in ["1", "0.1", ""] {
            let suspended = registry(Unregistered::Marked).admit(Some(&named("Autre", version, "DMP-3")));
            assert_eq!(suspended.unwrap_err().reason, Reason::SoftwareRefused);
        }
        let only = Some(HashSet::from(["DMP-2".to_owned()]));
        let listed = SoftwareRegistry::parse(TABLE, only, Unregistered::Marked).unwrap();
        assert!(listed.admit(Some(&named("Ancien", "1", "DMP-2"))).is_ok());
        assert!(listed.admit(Some(&named("Logiciel", "2.1", "DMP-1"))).is_err());
        assert!(listed.admit(None).is_err());
    }

    #[test]
    fn the_table() {
        let parse = |table: &str| SoftwareRegistry::parse(table, None, Unregistered::Marked);
        assert!(parse("# comment\n\n  \n").unwrap().is_empty());
        let web = parse("DMP-9\tPortail\t1\t\tWebPS,Consultation\tretire\n").unwrap();
        assert!(!web.is_empty());
        assert_eq!(
            web.admit(Some(&named("Portail", "1", "DMP-9"))).unwrap_err().reason,
            Reason::SoftwareRefused
        );
        for wrong in
            ["DMP-9\tX\t1\t\tAutre\tactif", "DMP-9\tX\t1\t\tWebPS\tautre", "DMP-9\tX", &TABLE.repeat(2)]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn versions_compare_by_number() {
        assert_eq!(compare("2.10", "2.9"), Ordering::Greater);
        assert_eq!(compare("2.0", "2.0"), Ordering::Equal);
        assert_eq!(compare("1.9.9", "2"), Ordering::Less);
    }
}

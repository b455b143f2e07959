//! Who somebody was when a subscription was made, kept so that his rights are decided anew each time it is told of something.

use serde::{Deserialize, Serialize};

use super::software::Software;
use super::{AccessMode, Actor, Authentication, Caller, Profession};

/// A professional who acted directly, in the mode that is none of an emergency: nobody else is kept.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptCaller {
    id: String,
    profession: String,
    specialities: Vec<String>,
    in_training: bool,
    authentication: String,
    structure: Option<String>,
    structure_name: Option<String>,
    name: Option<String>,
    sector: Option<String>,
    declared_role: Option<String>,
    /// Name, version and homologation id of the software.
    software: Option<(String, String, Option<String>)>,
}

impl KeptCaller {
    /// Of a caller; `None`: nobody of whom this is kept.
    pub fn of(caller: &Caller) -> Option<Self> {
        let direct = matches!(caller.authentication, Authentication::Card | Authentication::ProSanteConnect);
        let narrow = caller
            .session
            .as_ref()
            .is_some_and(|session| session.secret || session.single_use || session.record.is_some());
        let Actor::Professional { id, profession, specialities, in_training } = &caller.actor else {
            return None;
        };
        (direct && !narrow && caller.mode == AccessMode::Normal).then(|| Self {
            id: id.clone(),
            profession: profession.code().to_owned(),
            specialities: specialities.clone(),
            in_training: *in_training,
            authentication: caller.authentication.code().to_owned(),
            structure: caller.structure.clone(),
            structure_name: caller.structure_name.clone(),
            name: caller.name.clone(),
            sector: caller.sector.clone(),
            declared_role: caller.declared_role.clone(),
            software: caller.software.as_ref().map(|software| {
                (software.name.clone(), software.version.clone(), software.homologation_id.clone())
            }),
        })
    }

    /// The caller again, without a session: `might_act_for` is what the directory says now. `None`: kept by another version.
    pub fn caller(self, might_act_for: Vec<String>) -> Option<Caller> {
        let actor = Actor::Professional {
            id: self.id,
            profession: Profession::new(self.profession),
            specialities: self.specialities,
            in_training: self.in_training,
        };
        Some(Caller {
            authentication: Authentication::of_code(&self.authentication)?,
            structure: self.structure,
            might_act_for,
            structure_name: self.structure_name,
            name: self.name,
            sector: self.sector,
            declared_role: self.declared_role,
            software: self.software.map(|(name, version, homologation_id)| Software {
                name,
                version,
                homologation_id,
                registered: false,
            }),
            ..Caller::by_card(actor)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doctor() -> Caller {
        let actor = Actor::Professional {
            id: "810100000016".into(),
            profession: Profession::new("10".to_owned()),
            specialities: vec!["SM26".into()],
            in_training: false,
        };
        Caller { structure: Some("1750000101".into()), sector: Some("SA07".into()), ..Caller::by_card(actor) }
    }

    #[test]
    fn a_professional_is_who_he_was() {
        let kept = KeptCaller::of(&doctor()).unwrap();
        let text = serde_json::to_string(&kept).unwrap();
        let read: KeptCaller = serde_json::from_str(&text).unwrap();
        assert_eq!(format!("{:?}", read.caller(Vec::new()).unwrap()), format!("{:?}", doctor()));
    }

    #[test]
    fn nobody_else_is_kept() {
        let of = |change: fn(&mut Caller)| {
            let mut caller = doctor();
            change(&mut caller);
            KeptCaller::of(&caller)
        };
        assert_eq!(of(|caller| caller.mode = AccessMode::BrisDeGlace), None);
        assert_eq!(of(|caller| caller.authentication = Authentication::IndirectReinforced), None);
        assert_eq!(of(|caller| caller.actor = Actor::Staff { id: "3".into(), structure: "1".into() }), None);
        assert!(of(|_| {}).is_some(), "control");
    }
}

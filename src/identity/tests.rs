//! Roles, certificates and labels, as tables.

use super::*;

/// Profession, in training, known, named → proven, declared; or what the refusal says.
#[test]
fn the_second_value_of_a_role() {
    let role = |profession: &str, in_training, known: &[&str], named| {
        let known = known.iter().map(|code| (*code).to_owned()).collect();
        match role_detail(&Profession::new(profession), in_training, known, named) {
            Ok(RoleDetail { proven, declared }) => {
                format!("{} / {}", proven.join(" "), declared.unwrap_or_default())
            }
            Err(refusal) => refusal.issues[0].diagnostics.split(' ').take(4).collect::<Vec<_>>().join(" "),
        }
    };
    for (profession, in_training, known, named, expected) in [
        ("10", false, &["SM26"][..], None, "SM26 / "),
        ("10", false, &["SM26", "SM54"], Some("SM54"), "SM54 / "),
        ("10", false, &["SM26"], Some("SM54"), "specialite is one of"),
        ("10", false, &[], Some("SM54"), " / SM54"),
        ("10", false, &[], Some("A"), "specialite is a code"),
        ("10", false, &[], Some("sm54"), "specialite is a code"),
        ("10", false, &[], Some("SM54SM548"), "specialite is a code"),
        ("10", false, &[], None, "a doctor names a"),
        ("10", true, &[], None, " / "),
        ("21", false, &["G"], None, "G / "),
        ("21", false, &[], Some("A"), " / A"),
        ("21", false, &[], Some("AB"), "specialite is a code"),
        ("21", false, &[], Some("1"), "specialite is a code"),
        ("21", false, &[], None, "a pharmacist names a"),
        ("60", false, &[], None, " / "),
    ] {
        assert_eq!(role(profession, in_training, known, named), expected, "{profession} {known:?} {named:?}");
    }
}

#[test]
fn codes_stand_for_themselves() {
    for (way, code) in [
        (Authentication::Card, "DIRECTE"),
        (Authentication::ProSanteConnect, "DIRECTE_PSC"),
        (Authentication::Indirect, "INDIRECTE"),
        (Authentication::IndirectReinforced, "INDIRECTE_RENFORCEE"),
    ] {
        assert_eq!((way.code(), Authentication::of_code(code)), (code, Some(way)));
    }
    assert_eq!(Authentication::of_code("DELEGUEE"), None);
    for (mode, code) in [
        (AccessMode::Normal, "normal"),
        (AccessMode::BrisDeGlace, "bris_de_glace"),
        (AccessMode::Centre15, "centre_15"),
    ] {
        assert_eq!((mode.code(), AccessMode::of_code(code)), (code, Some(mode)));
    }
    assert_eq!(AccessMode::of_code("urgence"), None);
}

fn card(kind: CardType, id: &str) -> CertificateFacts {
    CertificateFacts {
        kind: CertificateKind::Card(kind),
        subject: crate::certificate::Subject {
            common_name: id.to_owned(),
            family_name: Some("BERNARD".into()),
            given_name: Some("CLAIRE".into()),
            organisation: Some("CABINET".into()),
            structure: Some("1750000101".into()),
            title: None,
        },
        profession: None,
        future_profession: None,
        specialities: Vec::new(),
    }
}

/// What each kind of certificate makes of its holder, or why it makes nobody.
#[test]
fn who_a_certificate_names() {
    let checks = IdentifierChecks { keys: true, editor_accounts: false };
    let told = |facts: &CertificateFacts| match Caller::of_certificate(facts, checks) {
        Ok(caller) => {
            let role = caller.role_label().unwrap_or_default();
            let structure = caller.structure.as_deref().unwrap_or_default();
            let accountable = caller.accountable_structure().unwrap_or_default();
            format!("{caller} {} [{role}] for [{structure}] [{accountable}]", caller.id())
        }
        Err(refusal) => format!("{:?}: {}", refusal.reason, refusal.issues[0].diagnostics),
    };
    let doctor = CertificateFacts {
        profession: Some("10".into()),
        specialities: vec!["SM26".into()],
        ..card(CardType::Cps, "810100000016")
    };
    let nurse = CertificateFacts { profession: Some("60".into()), ..card(CardType::Cps, "810100000040") };
    let intern =
        CertificateFacts { future_profession: Some("10".into()), ..card(CardType::Cpf, "810100000016") };
    let staff = card(CardType::Cpe, "3750000101/CPE0001");
    let support = card(CardType::Cpa, "3750000101/CPA0001");
    let organisation =
        CertificateFacts { kind: CertificateKind::OrganisationClient, ..card(CardType::Cps, "Logiciel") };
    let renamed = |facts: &CertificateFacts, id: &str| {
        let mut facts = facts.clone();
        facts.subject.common_name = id.to_owned();
        facts
    };
    let elsewhere = |facts: &CertificateFacts, structure: Option<&str>| {
        let mut facts = facts.clone();
        facts.subject.structure = structure.map(str::to_owned);
        facts
    };
    for (facts, expected) in [
        (doctor.clone(), "CPS 810100000016 [10 SM26] for [] []"),
        (nurse.clone(), "CPS 810100000040 [60] for [] []"),
        (intern.clone(), "CPF 810100000016 [10] for [] []"),
        (
            CertificateFacts { profession: Some("60".into()), ..intern.clone() },
            "CPF 810100000016 [60] for [] []",
        ),
        (staff.clone(), "CPE 3750000101/CPE0001 [] for [1750000101] [1750000101]"),
        (support.clone(), "CPA 3750000101/CPA0001 [] for [] []"),
        (
            CertificateFacts { profession: Some("10".into()), ..support.clone() },
            "CPA doctor 3750000101/CPA0001 [] for [] []",
        ),
        (
            CertificateFacts { profession: Some("60".into()), ..support.clone() },
            "CPA 3750000101/CPA0001 [] for [] []",
        ),
        (
            renamed(&doctor, "810100000017"),
            "UnsuitableCertificate: the common name is not a PS_IdNat of a professional",
        ),
        (
            CertificateFacts { specialities: Vec::new(), ..doctor.clone() },
            "UnsuitableCertificate: a doctor's card carries a speciality (1.2.250.1.71.4.2.5)",
        ),
        (
            CertificateFacts { profession: None, future_profession: Some("10".into()), ..doctor },
            "UnsuitableCertificate: the card carries no profession (1.2.250.1.71.1.2.7)",
        ),
        (
            CertificateFacts { future_profession: None, ..intern },
            "UnsuitableCertificate: the card carries no profession (1.2.250.1.71.1.2.7)",
        ),
        (
            renamed(&staff, "CPE0001"),
            "UnsuitableCertificate: the common name is not a PS_IdNat of staff (3<FINESS>/…, 5<SIRET>/…)",
        ),
        (
            renamed(&support, "CPA0001"),
            "UnsuitableCertificate: the common name is not a PS_IdNat of staff (3<FINESS>/…, 5<SIRET>/…)",
        ),
        (elsewhere(&staff, None), "UnsuitableCertificate: the card names no structure (OU, Struct_IdNat)"),
        (
            elsewhere(&staff, Some("1750000102")),
            "UnsuitableCertificate: the card names no structure (OU, Struct_IdNat)",
        ),
        (
            organisation.clone(),
            "TokenRequired: an organisation certificate alone does not say who acts: present an access token",
        ),
        (
            elsewhere(&organisation, Some("1750000102")),
            "UnsuitableCertificate: the certificate's structure (OU) is not a Struct_IdNat",
        ),
        (
            CertificateFacts { kind: CertificateKind::OrganisationSeal, ..organisation },
            "UnsuitableCertificate: a seal connects nobody",
        ),
    ] {
        assert_eq!(told(&facts), expected);
    }
    let caller = Caller::of_certificate(&nurse, checks).unwrap();
    assert_eq!(
        (caller.name.as_deref(), caller.structure_name.as_deref()),
        (Some("BERNARD CLAIRE"), Some("CABINET"))
    );
}

/// PDT-INF-617: what an unnamed card is called.
#[test]
fn what_a_holder_is_called() {
    let mut facts = card(CardType::Cpe, "3750000101/CPE_01");
    assert_eq!(name_of(&facts), "BERNARD CLAIRE");
    facts.subject.given_name = None;
    assert_eq!(name_of(&facts), "BERNARD");
    facts.subject.family_name = None;
    assert_eq!(name_of(&facts), "CABINET 3750000101/CPE-01");
    facts.subject.organisation = None;
    assert_eq!(name_of(&facts), "3750000101/CPE-01");
}

/// How traces name who acts, and for whom.
#[test]
fn how_traces_name_a_caller() {
    let doctor = Caller::by_card(Actor::Professional {
        id: "810100000016".into(),
        profession: Profession::new("10"),
        specialities: vec!["SM26".into()],
        in_training: false,
    });
    let named = Caller {
        structure: Some("1750000010".into()),
        declared_role: Some("SM54".into()),
        proof: Some("carte CPE".into()),
        ..doctor
    };
    let told = |authentication: Authentication| {
        let caller = Caller { authentication, ..named.clone() };
        let accountable = caller.accountable_structure().unwrap_or_default().to_owned();
        format!("{caller}, {}, [{accountable}]", caller.authentication_label())
    };
    assert_eq!(told(Authentication::Card), "CPS, DIRECTE (carte CPE), []");
    assert_eq!(told(Authentication::ProSanteConnect), "e-CPS, DIRECTE_PSC (carte CPE), []");
    assert_eq!(told(Authentication::Indirect), "PS, INDIRECTE (carte CPE), [1750000010]");
    assert_eq!(told(Authentication::IndirectReinforced), "PS, INDIRECTE_RENFORCEE (carte CPE), []");
    assert_eq!(named.role_label().as_deref(), Some("10 SM26 SM54"));
    assert_eq!(named.said_specialities().collect::<Vec<_>>(), ["SM26", "SM54"]);
    let unproven = Caller { proof: None, ..named.clone() };
    assert_eq!(unproven.authentication_label(), "DIRECTE");
    let staff = Caller {
        actor: Actor::NamedStaff { id: "1750000010/1".into(), role: "A^1.2".into() },
        authentication: Authentication::Indirect,
        ..named
    };
    assert_eq!((staff.to_string().as_str(), staff.role_label().as_deref()), ("staff", Some("A^1.2")));
    assert_eq!(staff.accountable_structure(), Some("1750000010"));
    assert_eq!(staff.said_specialities().collect::<Vec<_>>(), ["SM54"]);
}

#[test]
fn staff_act_for_the_structure_on_their_card() {
    let staff =
        Caller::by_card(Actor::Staff { id: "3750000101/CPE0001".into(), structure: "1750000101".into() });
    assert_eq!((staff.id(), staff.structure.as_deref()), ("3750000101/CPE0001", Some("1750000101")));
    assert_eq!(staff.accountable_structure(), Some("1750000101"));
    let support = Caller::by_card(Actor::AuthorisedStaff { id: "x".into(), profile: CpaProfile::Support });
    assert_eq!(support.structure, None);
}

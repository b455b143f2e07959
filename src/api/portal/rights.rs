//! The tables that decide, to be read: the two sheets of functional rights, and the habilitation matrix.

use actix_web::{HttpRequest, HttpResponse, web};
use maud::{Markup, html};

use super::layout::{View, page};
use super::{Portal, asked, professions};
use crate::fhir::codes::Codes;
use crate::identity::AccessMode;
use crate::rights::{Action, ActorCategory, Allowance, FunctionalRights, MatrixKind, MatrixVersion};

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.route("/droits", web::get().to(sheets)).route("/droits/matrice", web::get().to(matrix));
}

const MODES: [(AccessMode, &str, &str); 3] = [
    (AccessMode::Normal, "Normal", "Normal"),
    (AccessMode::BrisDeGlace, "Bris de glace", "Bris de glace (emergency)"),
    (AccessMode::Centre15, "Centre 15", "Centre 15 (regulation)"),
];

async fn sheets(view: View, request: HttpRequest, portal: web::Data<Portal>) -> HttpResponse {
    let mode =
        asked(&request, "mode").and_then(|code| AccessMode::of_code(&code)).unwrap_or(AccessMode::Normal);
    let body = html! {
        p {
            (view.of(
                "Ce que chacun peut faire, transaction par transaction (fiches PDT-INF-526 et PDT-INF-606). Lire un document demande encore son type : ",
                "What each may do, transaction by transaction (sheets PDT-INF-526 and PDT-INF-606). Reading a document needs its type, too: ",
            ))
            a href="/droits/matrice" { (view.of("la matrice d'habilitation", "the habilitation matrix")) } ". "
            (view.of("Un cas précis : ", "One case: ")) code { "habilis rights explain --help" } "."
        }
        p {
            (view.of("Mode d'accès : ", "Access mode: "))
            @for (other, french, english) in MODES {
                @if other == mode { strong { (view.of(french, english)) } }
                @else { a href={ "/droits?mode=" (other.code()) } { (view.of(french, english)) } }
                " "
            }
        }
        (sheet(&view, &portal.api.services.tables.functional, mode))
        h2 { (view.of("Légende", "Legend")) }
        dl {
            @for allowance in Allowance::ALL {
                dt { code { (allowance) } }
                dd { @let (french, english) = explained(allowance); (view.of(french, english)) }
            }
        }
    };
    page(
        &view,
        portal.demonstration.is_some(),
        view.of("Droits fonctionnels", "Functional rights"),
        None,
        &body,
    )
}

fn sheet(view: &View, rights: &FunctionalRights, mode: AccessMode) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(view.of("Droits fonctionnels", "Functional rights")) {
            table.grid {
                thead { tr {
                    th scope="col" { "Transaction" }
                    @for category in ActorCategory::ALL {
                        th scope="col" { (view.of(named(category), category.label())) br; "(" (category.sheet()) ")" }
                    }
                } }
                tbody {
                    @for action in Action::ALL {
                        @let (transaction, label) = action.key();
                        tr {
                            th scope="row" { (transaction) " " (view.of(done(action), label)) }
                            @for category in ActorCategory::ALL {
                                @let allowance = rights.cell(action, category, mode).allowance;
                                td class=(class(allowance)) { (short(view, allowance)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A column in French.
const fn named(category: ActorCategory) -> &'static str {
    match category {
        ActorCategory::Professional => "CPS/CPF, professionnel non médecin",
        ActorCategory::Doctor => "CPS/CPF, médecin non traitant",
        ActorCategory::OccupationalDoctor => "CPS/CPF, médecin du travail",
        ActorCategory::MedecinTraitant => "CPS/CPF, médecin traitant",
        ActorCategory::Staff => "CPE, non professionnel de santé",
        ActorCategory::Indirect => "certificat d'organisation, authentification indirecte",
        ActorCategory::AirProfessional => "AIR, professionnel non médecin",
        ActorCategory::AirDoctor => "AIR, médecin non traitant",
        ActorCategory::AirMedecinTraitant => "AIR, médecin traitant",
        ActorCategory::AirStaff => "AIR, personnel",
    }
}

/// An action in French.
const fn done(action: Action) -> &'static str {
    match action {
        Action::AcquireIdentity => "acquérir l'identité du patient",
        Action::Authenticate => "s'authentifier",
        Action::TestExistence => "tester l'existence, lire son autorisation",
        Action::DeclareAuthorisation => "se déclarer autorisé",
        Action::RemoveAuthorisation => "retirer son autorisation",
        Action::GiveUpMedecinTraitant => "ne plus être médecin traitant",
        Action::ListOwnRecords => "lister les dossiers autorisés",
        Action::FindWithoutIns => "trouver un patient sans INS",
        Action::OpenPortal | Action::OpenPortalAir => "ouvrir l'accès web en contexte",
        Action::ReadAdministrative => "lire les données administratives",
        Action::ListProfessionals => "lister les professionnels autorisés et bloqués",
        Action::Feed => "alimenter",
        Action::FeedByStaff => "alimenter par CPE (secrétaire, cabinet libéral)",
        Action::SearchMetadata => "rechercher des documents",
        Action::LookUpReference => "rechercher une référence",
        Action::ReadNotMasked => "lire : non masqué",
        Action::ReadMasked => "lire : masqué aux professionnels",
        Action::ReadHidden => "lire : invisible au patient ou au représentant",
        Action::ReadArchived => "lire : archivé",
        Action::ReadSuperseded => "lire : remplacé",
        Action::ReadDeleted => "lire : supprimé",
        Action::Mask => "masquer aux professionnels",
        Action::Unmask => "démasquer",
        Action::MakeVisible => "rendre visible au patient",
        Action::Delete => "supprimer",
        Action::Archive => "archiver",
        Action::Unarchive => "désarchiver",
    }
}

const fn class(allowance: Allowance) -> &'static str {
    match allowance {
        Allowance::Yes => "yes",
        Allowance::No => "no",
        _ => "maybe",
    }
}

fn short(view: &View, allowance: Allowance) -> String {
    match allowance {
        Allowance::Yes => view.of("oui", "yes").to_owned(),
        Allowance::No => view.of("non", "no").to_owned(),
        other => other.to_string(),
    }
}

const fn explained(allowance: Allowance) -> (&'static str, &'static str) {
    match allowance {
        Allowance::No => ("Non, ou pas de case.", "No, or no cell."),
        Allowance::Yes => ("Oui.", "Yes."),
        Allowance::OwnDocuments => {
            ("Les documents qu'il a écrits (notes 6, 8).", "Documents that the caller wrote (notes 6, 8).")
        }
        Allowance::PatientOptIn => (
            "En urgence, si le patient l'a voulu (note 7).",
            "In emergencies, if the patient opted in (note 7).",
        ),
        Allowance::ReferenceOnly => {
            ("Une référence, pas de liste (note 5).", "One reference, no listing (note 5).")
        }
        Allowance::StructureAuthorisation => {
            ("L'autorisation va à la structure (note 1).", "The authorisation goes to the structure (note 1).")
        }
        Allowance::StructureAttributed => {
            ("Au nom de la structure (note 4).", "Attributed to the structure (note 4).")
        }
        Allowance::StructureDocuments => {
            ("Les documents de la structure (note 9).", "Documents of the structure (note 9).")
        }
        Allowance::SameStructureProfessionals => (
            "Les professionnels de la même structure (note 2).",
            "Professionals of the same structure (note 2).",
        ),
        Allowance::NewAuthorisationsByDate => {
            ("Les autorisations nouvelles, par date (note 3).", "New authorisations, by date (note 3).")
        }
    }
}

async fn matrix(view: View, portal: web::Data<Portal>) -> HttpResponse {
    let services = &portal.api.services;
    let body = match services.tables.matrix.version(services.environment.now()) {
        None => {
            html! { p { (view.of("Aucune matrice n'est en vigueur : rien ne se lit.", "No matrix is in force: nothing is read.")) } }
        }
        Some(version) => version_shown(&view, &version, &services.codes),
    };
    let title = view.of("Matrice d'habilitation", "Habilitation matrix");
    page(&view, portal.demonstration.is_some(), title, None, &body)
}

fn version_shown(view: &View, version: &MatrixVersion<'_>, codes: &Codes) -> Markup {
    let columns: Vec<String> = version.columns().map(ToString::to_string).collect();
    let mut types: Vec<(&str, &str)> = version
        .types()
        .into_iter()
        .map(|code| (codes.document_type(code).map_or("", |kind| kind.display), code))
        .collect();
    types.sort_unstable();
    html! {
        p {
            "Version " strong { (version.name) } ", " (view.of("en vigueur depuis le ", "in force since ")) (version.in_force) ". "
            @if version.kind == MatrixKind::Demonstration {
                strong { (view.of("En partie inventée : elle ne fait pas foi, et un serveur de vrais dossiers la refuse.", "Partly invented: no authority, and a server of real records refuses it.")) }
            }
            " " (view.of("Une case absente refuse.", "A cell that is not there refuses."))
        }
        div.scroll tabindex="0" role="region" aria-label=(view.of("Matrice d'habilitation", "Habilitation matrix")) {
            table.grid {
                thead { tr {
                    th scope="col" { (view.of("Type de document", "Document type")) }
                    @for column in &columns { th scope="col" { (professions::name(column)) br; "(" (column) ")" } }
                } }
                tbody {
                    @for (display, code) in types {
                        tr {
                            th scope="row" { (display) " " code { (code) } }
                            @for column in version.columns() {
                                @match version.cell(column, code) {
                                    Some(cell) if cell.consultation => td.yes title=(cell.provenance) { (view.of("oui", "yes")) },
                                    Some(cell) => td.no title=(cell.provenance) { (view.of("non", "no")) },
                                    None => td.no { "–" },
                                }
                            }
                        }
                    }
                }
            }
        }
        details {
            summary { (view.of("D'où vient chaque case", "Where each cell comes from")) }
            ul {
                @for (provenance, count) in version.provenances() { li { (provenance) " (" (count) ")" } }
            }
        }
    }
}

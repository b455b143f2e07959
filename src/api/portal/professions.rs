//! The professions by name.

/// Code and name: TRE_G15 (1.5.0 of 2025-01-31, ANS), and the columns into which the habilitation matrix parts two of them.
#[rustfmt::skip]
pub(super) const PROFESSIONS: [(&str, &str); 33] = [
    ("10", "Médecin"),
    ("10-travail", "Médecin du travail"),
    ("21", "Pharmacien"),
    ("21-officine", "Pharmacien, officine"),
    ("21-biologie", "Pharmacien, biologie"),
    ("26", "Audioprothésiste"),
    ("28", "Opticien-lunetier"),
    ("31", "Assistant dentaire"),
    ("32", "Physicien médical"),
    ("35", "Aide-soignant"),
    ("36", "Ambulancier"),
    ("37", "Auxiliaire de puériculture"),
    ("38", "Préparateur en pharmacie hospitalière"),
    ("39", "Préparateur en pharmacie"),
    ("40", "Chirurgien-dentiste"),
    ("50", "Sage-femme"),
    ("60", "Infirmier"),
    ("69", "Infirmier psychiatrique"),
    ("70", "Masseur-kinésithérapeute"),
    ("80", "Pédicure-podologue"),
    ("81", "Orthoprothésiste"),
    ("82", "Podo-orthésiste"),
    ("83", "Orthopédiste-orthésiste"),
    ("84", "Oculariste"),
    ("85", "Épithésiste"),
    ("86", "Technicien de laboratoire"),
    ("91", "Orthophoniste"),
    ("92", "Orthoptiste"),
    ("93", "Psychologue"),
    ("94", "Ergothérapeute"),
    ("95", "Diététicien"),
    ("96", "Psychomotricien"),
    ("98", "Manipulateur ERM"),
];

/// The name of a column of the matrix.
pub(super) fn name(code: &str) -> &str {
    PROFESSIONS.iter().find(|(of, _)| *of == code).map_or(code, |(_, name)| name)
}

/// Whether a code is a profession's, and not a column's.
pub(super) fn is_profession(code: &str) -> bool {
    !code.contains('-') && PROFESSIONS.iter().any(|(of, _)| *of == code)
}

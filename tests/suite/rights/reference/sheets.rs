//! The two sheets, as printed: part of the reference.

// ---------------------------------------------------------------------------------------------------------------------
// The sheets
// ---------------------------------------------------------------------------------------------------------------------

/// A cell as the sheet prints it: `N` is « non », `O` is « oui », `O6` is « oui(6) ».
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    /// non
    N,
    /// oui
    O,
    /// The authorisation goes to the structure.
    O1,
    /// The list is limited to professionals of the same structure.
    O2,
    /// 526: the list is limited to new authorisations, by date. 606: as (2) of 526.
    O3,
    /// The deposit is attributed to the structure.
    O4,
    /// One reference, named by its identifier.
    O5,
    /// Reading: one's own documents only.
    O6,
    /// Masked documents in emergencies: if the patient opted in.
    O7,
    /// TD3.3: one's own documents only.
    O8,
    /// TD3.3: documents of the structure or of its staff.
    O9,
}

use Cell::{N, O, O1, O2, O3, O4, O5, O6, O7, O8, O9};

/// A row of the sheets, in the order of sheet 526.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Row {
    Authenticate,
    TestExistence,
    Declare,
    RemoveOwn,
    GiveUpMedecinTraitant,
    ListOwnRecords,
    FindWithoutIns,
    WebAccess,
    ReadAdministrative,
    ListProfessionals,
    Feed,
    FeedByCpe,
    SearchMetadata,
    LookUpReference,
    ReadNotMasked,
    ReadMasked,
    ReadHidden,
    ReadArchived,
    ReadSuperseded,
    ReadDeleted,
    Mask,
    Unmask,
    MakeVisible,
    Archive,
    Unarchive,
    Delete,
}

/// PDT-INF-526 v1.8. Modes: `no` normal, `15` centre_15, `bg` bris_de_glace; `n/a` (« sans objet ») counts as normal.
/// « doctor » is the doctor who is not médecin traitant (MT), « occ. » the occupational doctor.
/// (*) on TD3.3c and TD3.3d: a document of the patient, by the médecin traitant only.
#[rustfmt::skip]
pub(super) static SHEET_526: [(Row, [Cell; 12]); 26] = [
    //                                         CPS, CPF
    //                                         not doctor    doctor        occ.  MT        CPE   indirect
    //                                         no  15  bg    no  15  bg    n/a   no  bg    no    no  15
    /* TD0.1  */ (Row::Authenticate,          [O , O , O ,   O , O , O ,   O ,   O , O ,   O ,   O , O ]),
    /* TD0.2  */ (Row::TestExistence,         [O , O , O ,   O , O , O ,   O ,   O , O ,   O ,   O , O ]),
    /* TD0.3  */ (Row::Declare,               [O , N , N ,   O , N , N ,   N ,   O , N ,   O1,   N , N ]),
    /* TD0.3  */ (Row::RemoveOwn,             [O , N , N ,   O , N , N ,   N ,   O , N ,   N ,   N , N ]),
    /* TD0.3  */ (Row::GiveUpMedecinTraitant, [N , N , N ,   N , N , N ,   N ,   O , N ,   N ,   N , N ]),
    /* TD0.4  */ (Row::ListOwnRecords,        [O , O , O ,   O , O , O ,   O ,   O , O ,   O2,   O3, N ]),
    /* TD0.5  */ (Row::FindWithoutIns,        [N , O , N ,   N , O , N ,   N ,   N , N ,   N ,   N , O ]),
    /* TD0.9  */ (Row::WebAccess,             [O , O , O ,   O , O , O ,   O ,   O , O ,   O ,   N , N ]),
    /* TD1.3a */ (Row::ReadAdministrative,    [O , O , O ,   O , O , O ,   O ,   O , O ,   O ,   O , O ]),
    /* TD1.6  */ (Row::ListProfessionals,     [O , N , N ,   O , N , N ,   O ,   O , N ,   N ,   N , N ]),
    /* TD2.1  */ (Row::Feed,                  [O , O , O ,   O , O , O ,   O ,   O , O ,   N ,   O4, O4]),
    /* TD2.2  */ (Row::FeedByCpe,             [N , N , N ,   N , N , N ,   N ,   N , N ,   O4,   N , N ]),
    /* TD3.1  */ (Row::SearchMetadata,        [O , O , O ,   O , O , O ,   O ,   O , O ,   N ,   N , N ]),
    /* TD3.1  */ (Row::LookUpReference,       [O , O , O ,   O , O , O ,   O ,   O , O ,   O5,   O5, O5]),
    /* TD3.2  */ (Row::ReadNotMasked,         [O , O , O ,   O , O , O ,   N ,   O , O ,   N ,   N , N ]),
    /* TD3.2  */ (Row::ReadMasked,            [O6, O7, O7,   O6, O7, O7,   N ,   O , O7,   N ,   N , N ]),
    /* TD3.2  */ (Row::ReadHidden,            [O , O , O ,   O , O , O ,   N ,   O , O ,   N ,   N , N ]),
    /* TD3.2  */ (Row::ReadArchived,          [O , O , O ,   O , O , O ,   N ,   O , O ,   N ,   N , N ]),
    /* TD3.2  */ (Row::ReadSuperseded,        [O , O , O ,   O , O , O ,   N ,   O , O ,   N ,   N , N ]),
    /* TD3.2  */ (Row::ReadDeleted,           [O , O , O ,   O , O , O ,   N ,   O , O ,   N ,   N , N ]),
    /* TD3.3a */ (Row::Mask,                  [O , N , N ,   O , N , N ,   O ,   O , N ,   N ,   N , N ]),
    /* TD3.3a */ (Row::Unmask,                [O8, N , N ,   O8, N , N ,   O8,   O , N ,   N ,   N , N ]),
    /* TD3.3b */ (Row::MakeVisible,           [O , N , N ,   O , N , N ,   O ,   O , N ,   N ,   N , N ]),
    /* TD3.3d */ (Row::Archive,               [O8, N , N ,   O8, O , O ,   O8,   O , O ,   N ,   N , N ]),
    /* TD3.3d */ (Row::Unarchive,             [O8, N , N ,   O8, O , O ,   O8,   O , O ,   N ,   N , N ]),
    /* TD3.3c */ (Row::Delete,                [O8, O8, O8,   O8, O8, O8,   O8,   O8, O8,   O9,   O9, O9]),
];

/// PDT-INF-606 v1.3, AIR. The sheet has no row « Se supprimer MT »: a row without a cell, all no.
#[rustfmt::skip]
pub(super) static SHEET_606: [(Row, [Cell; 9]); 26] = [
    //                                         not doctor     doctor         MT         staff
    //                                         no   15  bg    no   15  bg    no   bg    no
    /* TD0.1  */ (Row::Authenticate,          [O ,  O , O ,   O ,  O , O ,   O ,  O ,   O ]),
    /* TD0.2  */ (Row::TestExistence,         [O ,  O , O ,   O ,  O , O ,   O ,  O ,   O ]),
    /* TD0.3  */ (Row::Declare,               [O ,  N , N ,   O ,  N , N ,   O ,  N ,   O1]),
    /* TD0.3  */ (Row::RemoveOwn,             [O ,  N , N ,   O ,  N , N ,   O ,  N ,   N ]),
    /* absent */ (Row::GiveUpMedecinTraitant, [N ,  N , N ,   N ,  N , N ,   N ,  N ,   N ]),
    /* TD0.4  */ (Row::ListOwnRecords,        [O ,  O , O ,   O ,  O , O ,   O ,  O ,   O3]),
    /* TD0.5  */ (Row::FindWithoutIns,        [N ,  O , N ,   N ,  O , N ,   N ,  N ,   N ]),
    /* TD0.10 */ (Row::WebAccess,             [O ,  O , O ,   O ,  O , O ,   O ,  O ,   O ]),
    /* TD1.3a */ (Row::ReadAdministrative,    [O ,  O , O ,   O ,  O , O ,   O ,  O ,   O ]),
    /* TD1.6  */ (Row::ListProfessionals,     [O ,  N , N ,   O ,  N , N ,   O ,  N ,   N ]),
    /* TD2.1  */ (Row::Feed,                  [N ,  N , N ,   N ,  N , N ,   N ,  N ,   N ]),
    /* TD2.2  */ (Row::FeedByCpe,             [N ,  N , N ,   N ,  N , N ,   N ,  N ,   N ]),
    /* TD3.1  */ (Row::SearchMetadata,        [O ,  O , O ,   O ,  O , O ,   O ,  O ,   N ]),
    /* TD3.1  */ (Row::LookUpReference,       [O ,  O , O ,   O ,  O , O ,   O ,  O ,   O5]),
    /* TD3.2  */ (Row::ReadNotMasked,         [O ,  O , O ,   O ,  O , O ,   O ,  O ,   N ]),
    /* TD3.2  */ (Row::ReadMasked,            [O6,  O7, O7,   O6,  O7, O7,   O ,  O7,   N ]),
    /* TD3.2  */ (Row::ReadHidden,            [O ,  O , O ,   O ,  O , O ,   O ,  O ,   N ]),
    /* TD3.2  */ (Row::ReadArchived,          [O ,  O , O ,   O ,  O , O ,   O ,  O ,   N ]),
    /* TD3.2  */ (Row::ReadSuperseded,        [O ,  O , O ,   O ,  O , O ,   O ,  O ,   N ]),
    /* TD3.2  */ (Row::ReadDeleted,           [O ,  O , O ,   O ,  O , O ,   O ,  O ,   N ]),
    /* TD3.3a */ (Row::Mask,                  [O ,  N , N ,   O ,  N , N ,   O ,  N ,   N ]),
    /* TD3.3a */ (Row::Unmask,                [O8,  N , N ,   O8,  N , N ,   O ,  N ,   N ]),
    /* TD3.3b */ (Row::MakeVisible,           [O ,  N , N ,   O ,  N , N ,   O ,  N ,   N ]),
    /* TD3.3d */ (Row::Archive,               [O8,  N , N ,   O ,  O , O ,   O ,  O ,   N ]),
    /* TD3.3d */ (Row::Unarchive,             [O8,  N , N ,   O ,  O , O ,   O ,  O ,   N ]),
    /* TD3.3c */ (Row::Delete,                [O8,  O8, O8,   O8,  O8, O8,   O8,  O8,   O9]),
];

//! What is asked and what is answered: part of the reference.

// ---------------------------------------------------------------------------------------------------------------------
// What is asked, and what is answered
// ---------------------------------------------------------------------------------------------------------------------

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActorKind {
    Professional,
    Doctor,
    OccupationalDoctor,
    /// CPE.
    Staff,
    /// CPA.
    Support,
    /// `INDIRECTE`, whoever is named.
    Indirect,
    AirProfessional,
    AirDoctor,
    AirOccupationalDoctor,
    AirStaff,
    /// Staff whom an AIR assertion names with a role of TRE_R85, R94 or R95.
    AirRoleProfessional,
}

impl ActorKind {
    pub const ALL: [ActorKind; 11] = [
        ActorKind::Professional,
        ActorKind::Doctor,
        ActorKind::OccupationalDoctor,
        ActorKind::Staff,
        ActorKind::Support,
        ActorKind::Indirect,
        ActorKind::AirProfessional,
        ActorKind::AirDoctor,
        ActorKind::AirOccupationalDoctor,
        ActorKind::AirStaff,
        ActorKind::AirRoleProfessional,
    ];
}

/// The mode of access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Normal,
    BrisDeGlace,
    Centre15,
}

impl Mode {
    pub const ALL: [Mode; 3] = [Mode::Normal, Mode::BrisDeGlace, Mode::Centre15];
}

/// What the caller is to the patient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    None,
    MedecinTraitant,
    EqualRights,
}

impl Relation {
    pub const ALL: [Relation; 3] = [Relation::None, Relation::MedecinTraitant, Relation::EqualRights];
}

/// The authorisation of the caller, his structure or the care team on the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authorisation {
    None,
    Valid,
    Expired,
    Blocked,
}

impl Authorisation {
    pub const ALL: [Authorisation; 4] =
        [Authorisation::None, Authorisation::Valid, Authorisation::Expired, Authorisation::Blocked];
}

/// The caller, the record, and how the one stands to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Situation {
    pub actor: ActorKind,
    pub mode: Mode,
    pub relation: Relation,
    pub authorisation: Authorisation,
    pub closed: bool,
    /// To Mon espace santé.
    pub attached: bool,
    pub opposed_to_feeding: bool,
    pub opposed_to_bris_de_glace: bool,
    pub opposed_to_centre_15: bool,
    pub masked_open_in_emergencies: bool,
    pub secret: bool,
    pub minor: bool,
    /// The token opens another record.
    pub other_record: bool,
}

/// The status of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Current,
    Superseded,
    Deleted,
}

impl Status {
    pub const ALL: [Status; 3] = [Status::Current, Status::Superseded, Status::Deleted];
}

/// Who fed the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depositor {
    /// In person.
    Caller,
    /// The structure or its staff.
    CallersStructure,
    Other,
    Patient,
}

impl Depositor {
    pub const ALL: [Depositor; 4] =
        [Depositor::Caller, Depositor::CallersStructure, Depositor::Other, Depositor::Patient];
}

/// One version of one document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Document {
    pub status: Status,
    pub masked: bool,
    pub invisible_to_patient: bool,
    pub invisible_to_representatives: bool,
    pub archived: bool,
    pub depositor: Depositor,
    /// The habilitation matrix says yes for this type and the caller's column.
    pub readable_type: bool,
}

/// Section 4 of the page, as far as it bears on a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// `archiving-by-doctors` = `sheet`.
    pub archive_any: bool,
    pub replacing_after_opposition: bool,
    pub cumul: bool,
    pub reading_deleted: bool,
    pub role_professionals: bool,
    pub occupational_doctor_reads: bool,
    pub closing_attached: bool,
    pub administrative_without_authorisation: bool,
}

impl Parameters {
    pub const DEFAULT: Parameters = Parameters {
        archive_any: false,
        replacing_after_opposition: true,
        cumul: false,
        reading_deleted: false,
        role_professionals: false,
        occupational_doctor_reads: false,
        closing_attached: false,
        administrative_without_authorisation: false,
    };
}

/// What one may want of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordAction {
    /// TD0.1.
    OpenSession,
    TestExistence,
    Declare,
    RemoveOwn,
    GiveUpMedecinTraitant,
    /// TD0.4.
    ListOwnRecords,
    /// TD0.5.
    FindWithoutIns,
    ReadAdministrative,
    ListProfessionals,
    Close,
    FeedNew,
    FeedReplacement,
    Search,
    /// The look-up of a reference as such: the cell, and 2 to 5.
    LookUp,
}

impl RecordAction {
    pub const ALL: [RecordAction; 14] = [
        RecordAction::OpenSession,
        RecordAction::TestExistence,
        RecordAction::Declare,
        RecordAction::RemoveOwn,
        RecordAction::GiveUpMedecinTraitant,
        RecordAction::ListOwnRecords,
        RecordAction::FindWithoutIns,
        RecordAction::ReadAdministrative,
        RecordAction::ListProfessionals,
        RecordAction::Close,
        RecordAction::FeedNew,
        RecordAction::FeedReplacement,
        RecordAction::Search,
        RecordAction::LookUp,
    ];
}

/// What one may want of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentAction {
    Read,
    Mask,
    Unmask,
    MakeVisible,
    Delete,
    Archive,
    Unarchive,
    Replace,
}

impl DocumentAction {
    pub const ALL: [DocumentAction; 8] = [
        DocumentAction::Read,
        DocumentAction::Mask,
        DocumentAction::Unmask,
        DocumentAction::MakeVisible,
        DocumentAction::Delete,
        DocumentAction::Archive,
        DocumentAction::Unarchive,
        DocumentAction::Replace,
    ];
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Yes,
    Hidden,
    No(Why),
}

/// The reason of a no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    NoFunctionalRight,
    OtherRecord,
    RecordClosed,
    Blocked,
    SecretForMinors,
    NoAuthorisation,
    AuthorisationExpired,
    OpposedToFeeding,
    AttachedToMonEspaceSante,
    NotTheAuthor,
    RuleBroken,
}

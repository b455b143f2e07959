//! `habilis rights explain`: the decision, its rule, and the parameter that decided.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use habilis::config::{self, DecidedBy};
use habilis::environment::Environment;
use habilis::identity::identifiers::{Ins, ins_system};
use habilis::identity::scope::Scopes;
use habilis::identity::{AccessMode, Actor, Authentication, Caller, CpaProfile, Profession, Session};
use habilis::rights::{
    Authorisation, Basis, Column, Decision, DocumentAction, DocumentFacts, DocumentStatus, FeedPurpose,
    HabilitationMatrix, Labels, ListOf, Parameters, RecordFacts, RecordState, Relation, Tables,
};
use habilis::server::DirectoryFiles;
use habilis::store::{DatabaseUrl, RecordKey, look};

const HELP: &str = "\
Examples: a case as one imagines it

  $ habilis rights explain --profession 10 --authorisation valid --type 11488-4 --masked
  $ habilis rights explain --kind staff --structure 1750000101
  $ habilis rights explain --profession 60 --mode bris-de-glace --opposed-to-bris-de-glace

and a case as it stands in a sandbox's database

  $ habilis rights explain --profession 10 --id 810100000024 --matrix demonstration \\
      --database sqlite:data/habilis.db --ins 144027599900963

and as a server with this configuration decides it

  $ habilis rights explain --config habilis.toml --profession 40 --ins 144027599900963

A line is: the action, yes, no or hidden (answered like something unknown), and the rule: the cell of the sheet with its column, the
article, the matrix with its version, and the parameter where one decided. docs/rights.md has it in words.";

const CENTRE_15: &str = "\
The session itself is opened for a regulating doctor, or for the software of a regulation centre, of the directory.
";

/// What describes a case that is imagined: a record of a database is as it is.
const IMAGINED: [&str; 18] = [
    "authorisation",
    "relation",
    "closed",
    "opposed_to_feeding",
    "opposed_to_bris_de_glace",
    "opposed_to_centre_15",
    "masked_open_in_emergencies",
    "minor",
    "not_attached",
    "all_masked",
    "type_code",
    "masked",
    "invisible_to_patient",
    "invisible_to_representatives",
    "archived",
    "superseded",
    "own",
    "by_patient",
];

/// What may be asked about rights.
#[derive(Subcommand)]
pub enum RightsCommand {
    /// Say what one actor may do with one record or document, and by which rule.
    #[command(after_help = HELP)]
    Explain(Box<ExplainArguments>),
}

/// Who the actor is.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// CPS or CPF, or e-CPS.
    Professional,
    /// CPE.
    Staff,
    /// CPA.
    Support,
    /// Named by an establishment without proof.
    Indirect,
    /// AIR, a professional.
    Air,
    /// AIR, staff.
    AirStaff,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    Normal,
    BrisDeGlace,
    #[value(name = "centre-15")]
    Centre15,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Standing {
    None,
    Valid,
    Expired,
    Blocked,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RelationName {
    None,
    MedecinTraitant,
    EqualRights,
}

#[derive(Args)]
pub struct ExplainArguments {
    /// Who acts.
    #[arg(long, value_enum, default_value = "professional")]
    kind: Kind,
    /// Profession, TRE_G15: 10 doctor, 21 pharmacist, 40 dentist, 50 midwife, 60 nurse …
    #[arg(long, default_value = "10")]
    profession: String,
    /// Speciality (TRE_R01) or section (TRE_G05): SM25 is an occupational doctor.
    #[arg(long)]
    speciality: Vec<String>,
    /// Role of staff that an AIR assertion names, as 313^1.2.250.1.213.1.6.1.107.
    #[arg(long, default_value = "SECRETARIAT_MEDICAL^1.2.250.1.213.1.1.4.6")]
    role: String,
    /// PS_IdNat.
    #[arg(long, default_value = "810100000016")]
    id: String,
    /// Struct_IdNat for which he acts.
    #[arg(long)]
    structure: Option<String>,
    /// How the record is opened.
    #[arg(long, value_enum, default_value = "normal")]
    mode: Mode,
    /// In a secret connection.
    #[arg(long)]
    secret: bool,
    /// Files of the habilitation matrix; the cells with a public source unless given. « demonstration » is the sandbox's.
    #[arg(long, value_name = "FILE")]
    matrix: Vec<PathBuf>,
    /// Parameters, matrix, directory and database of a server's configuration.
    #[arg(long, value_name = "FILE", conflicts_with = "matrix")]
    config: Option<PathBuf>,

    /// Take record and document from a database (sqlite:PATH or postgres://…), which is read and not changed; with --ins.
    #[arg(long, requires = "ins")]
    database: Option<String>,
    /// INS of the record, in the database.
    #[arg(long, conflicts_with_all = IMAGINED)]
    ins: Option<String>,
    /// System of the INS.
    #[arg(long, default_value = ins_system::TEST)]
    ins_system: String,
    /// DocumentReference.id, in the database.
    #[arg(long, requires = "ins")]
    document: Option<String>,

    /// The caller's authorisation.
    #[arg(long, value_enum, default_value = "none")]
    authorisation: Standing,
    /// What the patient made of the caller.
    #[arg(long, value_enum, default_value = "none")]
    relation: RelationName,
    /// The record is closed.
    #[arg(long)]
    closed: bool,
    /// The patient is opposed to feeding.
    #[arg(long)]
    opposed_to_feeding: bool,
    /// The patient is opposed to bris de glace.
    #[arg(long)]
    opposed_to_bris_de_glace: bool,
    /// The patient is opposed to Centre 15.
    #[arg(long)]
    opposed_to_centre_15: bool,
    /// The patient opened masked documents to emergencies.
    #[arg(long)]
    masked_open_in_emergencies: bool,
    /// The patient is a minor.
    #[arg(long)]
    minor: bool,
    /// The record is not attached to Mon espace santé.
    #[arg(long)]
    not_attached: bool,
    /// The patient masked every document.
    #[arg(long)]
    all_masked: bool,

    /// Type of the document, JDV_J66.
    #[arg(long = "type", default_value = "11488-4")]
    type_code: String,
    /// MASQUE_PS.
    #[arg(long)]
    masked: bool,
    /// INVISIBLE_PATIENT.
    #[arg(long)]
    invisible_to_patient: bool,
    /// INVISIBLE_REPRESENTANTS_LEGAUX.
    #[arg(long)]
    invisible_to_representatives: bool,
    /// Archived.
    #[arg(long)]
    archived: bool,
    /// Replaced by another version.
    #[arg(long)]
    superseded: bool,
    /// Fed by the caller.
    #[arg(long)]
    own: bool,
    /// Deposited by the patient.
    #[arg(long)]
    by_patient: bool,
}

/// Runs a command.
pub fn run(command: RightsCommand) -> Result<()> {
    let RightsCommand::Explain(arguments) = command;
    print!("{}", explain(&arguments)?);
    Ok(())
}

fn explain(arguments: &ExplainArguments) -> Result<String> {
    let now = Environment::system().now();
    let by = match &arguments.config {
        Some(path) => config::read_rights(path)?,
        None => DecidedBy {
            matrix: matrix(&arguments.matrix)?,
            parameters: Parameters::default(),
            directory: DirectoryFiles::default(),
            database: None,
        },
    };
    let tables = Tables::new(by.matrix, by.parameters)?;
    let caller = caller(arguments)?;
    let might_act_for = by.directory.read()?.might_act_for(caller.id(), caller.structure.as_deref());
    let caller = Caller { might_act_for, ..caller };
    let (record, document) = match (&arguments.ins, arguments.database.as_ref().or(by.database.as_ref())) {
        (Some(_), Some(url)) => of_database(arguments, url, &caller, now.as_microsecond())?,
        (Some(_), None) => bail!("--ins wants --database, or a configuration that names one"),
        (None, _) => (record(arguments), Some(document(arguments, &caller))),
    };
    let mut lines = Lines::default();
    lines.records(&tables, &caller, &record, now);
    if let Some(document) = &document {
        lines.document(&tables, &caller, &record, document, now);
    }
    if caller.mode == AccessMode::Centre15 {
        lines.0.push_str(CENTRE_15);
    }
    Ok(lines.0)
}

#[derive(Default)]
struct Lines(String);

impl Lines {
    fn line<G>(&mut self, action: &str, decision: Decision<G>, rule: impl FnOnce(&G) -> String) {
        let (answer, rule) = match &decision {
            Decision::Permit(grant) => ("yes".to_owned(), rule(grant)),
            Decision::Hide { rule } => ("hidden".to_owned(), rule.clone()),
            Decision::Refuse(refusal) => {
                (format!("no ({:?})", refusal.reason), refusal.rule.clone().into_owned())
            }
        };
        self.0.push_str(&format!("{action:<34} {answer:<28} {rule}\n"));
    }

    fn records(&mut self, tables: &Tables, caller: &Caller, record: &RecordFacts, now: jiff::Timestamp) {
        self.line("TD0.1 open a session", tables.decide_opening(caller), |grant| grant.rule().to_owned());
        let asked = caller.session.as_ref().and_then(|session| session.record.as_ref());
        self.line("TD0.2 test existence", tables.decide_existence(caller, asked), |grant| {
            grant.rule().to_owned()
        });
        self.line("TD0.3 declare oneself", tables.decide_declaration(caller, record, &[], now), |grant| {
            grant.rule().to_owned()
        });
        self.line("TD0.3 remove one's authorisation", tables.decide_revocation(caller, record, now), |grant| {
            grant.rule().to_owned()
        });
        self.line("TD0.3 give up médecin traitant", tables.decide_giving_up(caller, record, now), |grant| {
            grant.rule().to_owned()
        });
        self.line(
            "TD0.4 list one's records",
            tables.decide_own_records(caller, ListOf::Caller, true),
            |grant| grant.rule().to_owned(),
        );
        self.line("TD0.5 find without INS", tables.decide_identity_search(caller), |grant| {
            grant.rule().to_owned()
        });
        self.line(
            "TD1.3a read administrative data",
            tables.decide_administrative(caller, record, now),
            |grant| grant.rule().to_owned(),
        );
        self.line("TD1.4 close the record", tables.decide_closure(caller, record, now), |grant| {
            grant.rule().to_owned()
        });
        self.line("TD1.6 list professionals", tables.decide_professionals(caller, record, now), |grant| {
            grant.rule().to_owned()
        });
        self.line("TD2 feed", tables.decide_feed(caller, record, FeedPurpose::New, now), |grant| {
            grant.rule().to_owned()
        });
        self.line("TD3.1 search", tables.decide_scope(caller, record, now), |grant| grant.rule().to_owned());
        self.line("TD3.1b look up one's own", tables.decide_references(caller, record, now), |grant| {
            grant.rule().to_owned()
        });
    }

    fn document(
        &mut self,
        tables: &Tables,
        caller: &Caller,
        record: &RecordFacts,
        document: &DocumentFacts,
        now: jiff::Timestamp,
    ) {
        if let Decision::Refuse(refusal) = tables.decide_reading_at_all(caller) {
            self.line("TD3.2 read", Decision::<()>::Refuse(refusal), |()| String::new());
            return self.changes(tables, caller, record, document, now);
        }
        match tables.decide_scope(caller, record, now).granted() {
            Ok(scope) => self.line("TD3.2 read", scope.admit(document), |grant| grant.rule().to_owned()),
            Err(refusal) => {
                let hidden: Decision<()> = Decision::Hide { rule: refusal.rule.into_owned() };
                self.line("TD3.2 read", hidden, |()| String::new());
            }
        }
        self.cells(tables, caller, document, now);
        self.changes(tables, caller, record, document, now);
    }

    /// What the matrix says of the type, and where that comes from.
    fn cells(&mut self, tables: &Tables, caller: &Caller, document: &DocumentFacts, now: jiff::Timestamp) {
        for column in Column::of(caller) {
            let (said, source) = match tables.matrix.cell(&column, &document.type_code, now) {
                Some(cell) => (if cell.consultation { "yes" } else { "no" }, cell.provenance.as_str()),
                None => ("unknown", "no source: refused"),
            };
            let place = format!("  matrix {column} × {}", document.type_code);
            self.0.push_str(&format!("{place:<34} {said:<28} {source}\n"));
        }
    }

    fn changes(
        &mut self,
        tables: &Tables,
        caller: &Caller,
        record: &RecordFacts,
        document: &DocumentFacts,
        now: jiff::Timestamp,
    ) {
        for (action, label) in [
            (DocumentAction::Mask, "TD3.3a mask"),
            (DocumentAction::Unmask, "TD3.3a unmask"),
            (DocumentAction::ShowToPatient, "TD3.3b show to the patient"),
            (DocumentAction::ShowToRepresentatives, "TD3.3b show to representatives"),
            (DocumentAction::HideFromPatient, "TD3.3b hide from the patient"),
            (DocumentAction::HideFromRepresentatives, "TD3.3b hide from representatives"),
            (DocumentAction::Delete, "TD3.3c delete"),
            (DocumentAction::Archive, "TD3.3d archive"),
            (DocumentAction::Unarchive, "TD3.3d unarchive"),
        ] {
            // As the server asks: what every column has, then whether the document is known, then the action.
            let decision = match tables.decide_updating_at_all(caller, &[DocumentAction::Delete]) {
                Decision::Permit(()) => tables.decide_update(caller, record, document, &[action], now),
                Decision::Hide { rule } => Decision::Hide { rule },
                Decision::Refuse(refusal) => Decision::Refuse(refusal),
            };
            self.line(label, decision, |grant| grant.rule().to_owned());
        }
    }
}

fn matrix(files: &[PathBuf]) -> Result<HabilitationMatrix> {
    match files {
        [] => HabilitationMatrix::known(),
        [one] if one.as_os_str() == "demonstration" => HabilitationMatrix::demonstration(),
        files => {
            let read = |path: &PathBuf| {
                std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
            };
            let tables = files.iter().map(read).collect::<Result<Vec<String>>>()?;
            let tables: Vec<&str> = tables.iter().map(String::as_str).collect();
            HabilitationMatrix::parse(&tables).context("--matrix")
        }
    }
}

fn ins(arguments: &ExplainArguments) -> Result<Ins> {
    let value = arguments.ins.as_deref().unwrap_or("279035121518989");
    Ins::new(&arguments.ins_system, value).map_err(|error| anyhow::anyhow!("--ins: {error}"))
}

fn caller(arguments: &ExplainArguments) -> Result<Caller> {
    let structure = arguments.structure.clone().unwrap_or_else(|| "1750000101".to_owned());
    let professional = || Actor::Professional {
        id: arguments.id.clone(),
        profession: Profession::new(arguments.profession.clone()),
        specialities: arguments.speciality.clone(),
        in_training: false,
    };
    let named = || Actor::NamedStaff { id: arguments.id.clone(), role: arguments.role.clone() };
    let (actor, authentication) = match arguments.kind {
        Kind::Professional => (professional(), Authentication::Card),
        Kind::Staff => {
            (Actor::Staff { id: arguments.id.clone(), structure: structure.clone() }, Authentication::Card)
        }
        Kind::Support => (
            Actor::AuthorisedStaff { id: arguments.id.clone(), profile: CpaProfile::Support },
            Authentication::Card,
        ),
        Kind::Indirect => (professional(), Authentication::Indirect),
        Kind::Air => (professional(), Authentication::IndirectReinforced),
        Kind::AirStaff => (named(), Authentication::IndirectReinforced),
    };
    let acts_for = match arguments.kind {
        Kind::Professional | Kind::Support => arguments.structure.clone(),
        _ => Some(structure),
    };
    // A session that breaks the glass opens one record: this one.
    let breaks_the_glass = matches!(arguments.mode, Mode::BrisDeGlace);
    let record = if breaks_the_glass { Some(ins(arguments)?) } else { None };
    let session = (arguments.secret || breaks_the_glass).then(|| Session {
        id: String::new(),
        scopes: Scopes::all(),
        record,
        motif: None,
        secret: arguments.secret,
        single_use: false,
        expires_at: i64::MAX,
    });
    let mode = match arguments.mode {
        Mode::Normal => AccessMode::Normal,
        Mode::BrisDeGlace => AccessMode::BrisDeGlace,
        Mode::Centre15 => AccessMode::Centre15,
    };
    Ok(Caller { authentication, mode, structure: acts_for, session, ..Caller::by_card(actor) })
}

fn record(arguments: &ExplainArguments) -> RecordFacts {
    let birth_date = if arguments.minor { "2020-01-01" } else { "1970-01-01" };
    RecordFacts {
        id: "record".into(),
        state: if arguments.closed { RecordState::Closed } else { RecordState::Open },
        opposed_to_feeding: arguments.opposed_to_feeding,
        opposed_to_bris_de_glace: arguments.opposed_to_bris_de_glace,
        opposed_to_centre_15: arguments.opposed_to_centre_15,
        all_masked: arguments.all_masked,
        masked_open_in_emergencies: arguments.masked_open_in_emergencies,
        authorisation: match arguments.authorisation {
            Standing::None => Authorisation::None,
            Standing::Valid => Authorisation::Valid,
            Standing::Expired => Authorisation::Expired,
            Standing::Blocked => Authorisation::Blocked,
        },
        basis: Basis::Person,
        relation: match arguments.relation {
            RelationName::None => Relation::None,
            RelationName::MedecinTraitant => Relation::MedecinTraitant,
            RelationName::EqualRights => Relation::EqualRights,
        },
        birth_date: birth_date.parse().ok(),
        attached: !arguments.not_attached,
        outside_the_session: false,
    }
}

fn document(arguments: &ExplainArguments, caller: &Caller) -> DocumentFacts {
    let status = if arguments.superseded { DocumentStatus::Superseded } else { DocumentStatus::Current };
    DocumentFacts {
        id: "document".into(),
        record_id: "record".into(),
        type_code: arguments.type_code.clone(),
        status,
        labels: Labels {
            masked: arguments.masked,
            invisible_to_patient: arguments.invisible_to_patient,
            invisible_to_representatives: arguments.invisible_to_representatives,
        },
        archived: arguments.archived,
        author_id: if arguments.own { arguments.id.clone() } else { "somebody else".to_owned() },
        author_structure: match arguments.own {
            true => caller.accountable_structure().map(str::to_owned),
            false => None,
        },
        by_patient: arguments.by_patient,
        version: 1,
    }
}

/// Record and document as they stand. Nothing of their content is read.
fn of_database(
    arguments: &ExplainArguments,
    url: &str,
    caller: &Caller,
    now: i64,
) -> Result<(RecordFacts, Option<DocumentFacts>)> {
    let ins = ins(arguments)?;
    let url = DatabaseUrl::parse(url)?;
    if let DatabaseUrl::Sqlite(path) = &url
        && !path.is_file()
    {
        bail!("there is no database {}", path.display());
    }
    let (record, document) = look(&url, |reader| {
        let record = reader.record_facts(&RecordKey::Ins(ins), caller, now)?;
        let document = match &arguments.document {
            Some(id) => reader.document(id, now)?.map(|document| document.facts),
            None => None,
        };
        Ok((record, document))
    })?;
    let record = record.context("there is no record for this INS")?;
    if arguments.document.is_some() && document.as_ref().is_none_or(|document| document.record_id != record.id)
    {
        bail!("there is no document of this id in this record");
    }
    Ok((record, document))
}

//! The commands `habilis rights explain` and `habilis matrix`, as an operator calls them.

use std::path::Path;
use std::process::{Command, Output};

use habilis::sandbox::example::Example;

use crate::support::{Engine, OTHER, PatientSide, TEST, World};

fn habilis(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_habilis")).args(arguments).output().unwrap()
}

#[track_caller]
fn told(arguments: &[&str]) -> String {
    let output = habilis(arguments);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn refused(arguments: &[&str]) -> String {
    let output = habilis(arguments);
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}

/// The line of an action: the answer and the rule.
#[track_caller]
fn line(told: &str, action: &str) -> String {
    let found = told.lines().find(|line| line.starts_with(action));
    // The answer stands in a column of its own.
    found.unwrap_or_else(|| panic!("« {action} » not in {told}")).chars().skip(35).collect()
}

const EXPLAIN: [&str; 2] = ["rights", "explain"];

fn explain(more: &[&str]) -> String {
    told(&[&EXPLAIN, more].concat())
}

#[test]
fn a_case_that_is_imagined() {
    let masked = explain(&["--matrix", "demonstration", "--authorisation", "valid", "--masked"]);
    assert!(line(&masked, "TD3.2 read").starts_with("hidden"), "{masked}");
    assert!(line(&masked, "TD3.2 read").contains("MASQUE_PS; PDT-INF-526 TD3.1"));
    let treating = explain(&["--matrix", "demonstration", "--relation", "medecin-traitant", "--masked"]);
    assert!(line(&treating, "TD3.2 read").starts_with("yes"));
    assert!(line(&treating, "TD3.3a unmask").starts_with("yes"));
    assert!(line(&treating, "TD1.4 close").contains("AttachedToMonEspaceSante"));
    let unattached = explain(&["--relation", "medecin-traitant", "--not-attached"]);
    assert!(line(&unattached, "TD1.4 close").starts_with("yes"));
    // The production matrix refuses what has no source, and says so.
    let unknown = explain(&["--profession", "40", "--authorisation", "valid", "--type", "34112-3"]);
    assert!(line(&unknown, "TD3.2 read").contains("column 40 × 34112-3 is not yes"), "{unknown}");
    assert_eq!(
        line(&unknown, "  matrix 40 × 34112-3").trim_end(),
        format!("{:<28} no source: refused", "unknown")
    );
    assert!(line(&masked, "  matrix 10 × 11488-4").starts_with("yes"), "{masked}");
    // Staff: what their structure fed is their own, and reading is refused before anything is looked up.
    let staff = explain(&["--kind", "staff", "--own"]);
    assert!(line(&staff, "TD3.3c delete").starts_with("yes"), "{staff}");
    assert!(line(&staff, "TD3.2 read").starts_with("no (NoFunctionalRight)"));
    assert!(line(&staff, "TD3.3a mask").starts_with("no (NoFunctionalRight)"));
    let others = explain(&["--kind", "staff"]);
    assert!(line(&others, "TD3.3a mask").starts_with("hidden"), "not known: as the server answers");
    // Modes: a session that breaks the glass opens one record, and no list; refused by the patient's opposition.
    let emergency = explain(&["--profession", "60", "--mode", "bris-de-glace", "--opposed-to-bris-de-glace"]);
    assert!(line(&emergency, "TD0.4 list").starts_with("no (OtherRecord)"));
    assert!(line(&emergency, "TD0.2 test existence").starts_with("yes"));
    assert!(line(&emergency, "TD3.1 search").contains("opposition to bris de glace"));
    let regulating = explain(&["--mode", "centre-15"]);
    assert!(regulating.ends_with("of a regulation centre, of the directory.\n"), "{regulating}");
    let cpa = explain(&["--kind", "support"]);
    assert!(line(&cpa, "TD0.1 open a session").contains("no row for a CPA"));
    let secret = explain(&["--secret", "--authorisation", "valid"]);
    assert!(line(&secret, "TD3.1 search").contains("R1111-50"));
}

/// A record as it stands; what the command says is what the server answers.
#[test]
fn a_case_of_a_database() {
    let world = World::start(Engine::Sqlite);
    let (author, dentist) = (world.client("cps-medecin"), world.client("cps-dentiste"));
    let mut request = Example::new(TEST, OTHER, "OUVERT", "2.25.950");
    request.type_code = "75496-0";
    let document =
        author.post("/DocumentReference", request.single()).json()["id"].as_str().unwrap().to_owned();
    let report = Example::new(TEST, OTHER, "OUVERT", "2.25.951");
    let report = author.post("/DocumentReference", report.single()).json()["id"].as_str().unwrap().to_owned();
    let url = world.database_url.clone();
    let explain = |profession: &str, id: &str, ins: &str, document: Option<&str>| {
        let mut arguments = vec!["--matrix", "demonstration", "--database", &url, "--profession", profession];
        arguments.extend(["--id", id, "--ins", ins]);
        arguments.extend(document.into_iter().flat_map(|document| ["--document", document]));
        explain(&arguments)
    };
    let dentist_says = |document: &str| explain("40", "810100000032", OTHER, Some(document));
    assert!(line(&dentist_says(&report), "TD3.1 search").contains("NoAuthorisation"));
    dentist.authorise(OTHER);
    for (id, expected, status) in [(&document, "hidden", 404), (&report, "yes", 200)] {
        assert!(line(&dentist_says(id), "TD3.2 read").starts_with(expected));
        assert_eq!(dentist.get(&format!("/DocumentReference/{id}")).status, status);
    }
    let treated = explain("10", "810100000016", "144027599900963", None);
    assert!(line(&treated, "TD3.1 search").contains("R1111-54"));
    let blocked = explain("10", "810100000024", "291087599900442", None);
    assert!(line(&blocked, "TD2 feed").starts_with("no (Blocked)"));

    // Nothing is taken back for something else, and nothing is passed over.
    let database = ["--database", &url, "--ins", OTHER];
    let another = refused(&[&EXPLAIN, &database[..], &["--document", "unknown"]].concat());
    assert!(another.contains("no document of this id in this record"), "{another}");
    let elsewhere = ["--database", &url, "--ins", "144027599900963", "--document", &report];
    assert!(refused(&[&EXPLAIN, &elsewhere[..]].concat()).contains("in this record"));
    assert!(refused(&[&EXPLAIN, &database[..], &["--masked"]].concat()).contains("cannot be used with"));
    assert!(refused(&[&EXPLAIN, &["--ins", OTHER][..]].concat()).contains("--database"));
    assert!(
        refused(&[&EXPLAIN, &["--database", &url, "--ins", "172047599900387"][..]].concat())
            .contains("no record")
    );
}

/// A question changes nothing: no file is made, nothing is migrated.
#[test]
fn a_question_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("habilis.db");
    let url = format!("sqlite:{}", path.display());
    let ask = |url: &str| refused(&[&EXPLAIN, &["--database", url, "--ins", OTHER][..]].concat());
    assert!(ask(&url).contains("there is no database"));
    assert!(!path.exists());
    std::fs::write(&path, "").unwrap();
    assert!(ask(&url).contains("holds nothing of this program's"));
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
    let world = World::start(Engine::Postgres);
    world.sql("DELETE FROM __diesel_schema_migrations WHERE version LIKE '0003%' OR version LIKE '%3'");
    assert!(ask(&world.database_url).contains("another version of the program"));
}

/// Parameters and matrix of a configuration decide as they do in the server.
#[test]
fn a_case_as_a_configuration_decides_it() {
    let folder = tempfile::tempdir().unwrap();
    let matrix = folder.path().join("matrix.tsv");
    let table = "# version: m\n# in-force: 2020-01-01\n# kind: known\nprofession\ttype\tconsultation\tprovenance\n10-travail\t11488-4\tyes\tarrêté\n";
    std::fs::write(&matrix, table).unwrap();
    let path = super::config::file(folder.path(), |text| {
        format!("{text}[rights]\noccupational-doctor-reads = true\nmatrix = \"{}\"\n", matrix.display())
    });
    let path = path.to_str().unwrap();
    let occupational = ["--speciality", "SM25", "--authorisation", "valid"];
    let configured = explain(&[&["--config", path][..], &occupational].concat());
    assert!(line(&configured, "TD3.2 read").starts_with("yes"), "{configured}");
    assert!(line(&explain(&occupational), "TD3.2 read").starts_with("hidden"), "not by default");
}

/// Its directory says for whom a professional might act: who is blocked under that name is blocked here as in the server.
#[test]
fn a_case_as_a_directory_decides_it() {
    let world = World::start(Engine::Sqlite);
    PatientSide::of(&world).set(OTHER, "1750000036", "bloque");
    let folder = tempfile::tempdir().unwrap();
    let professionals = folder.path().join("professionals.tsv");
    std::fs::write(&professionals, "810100000099\t10\t1750000036\n810100000098\t10\t1750000010\n").unwrap();
    let path = super::config::file(folder.path(), |text| {
        format!("{text}[directory]\nprofessionals = \"{}\"\n", professionals.display())
    });
    let case = |id: &str| {
        let database = ["--database", &world.database_url, "--ins", OTHER, "--id", id];
        let told = explain(&[&["--config", path.to_str().unwrap()], &database[..]].concat());
        line(&told, "TD2 feed")
    };
    assert!(case("810100000099").starts_with("no (Blocked)"), "{}", case("810100000099"));
    assert!(case("810100000098").starts_with("yes"), "{}", case("810100000098"));
}

fn write(folder: &Path, name: &str, rows: &str) -> String {
    let path = folder.join(name);
    let head = "# version: V\n# in-force: D\n# kind: known\nprofession\ttype\tconsultation\tprovenance\n";
    let (version, date) = name.trim_end_matches(".tsv").split_once('@').unwrap();
    let text = head.replace('V', version).replace('D', date) + &rows.replace(' ', "\t");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn files_of_the_matrix() {
    let folder = tempfile::tempdir().unwrap();
    let old = write(folder.path(), "a@2023-10-29.tsv", "10 11488-4 yes s\n40 11488-4 no s\n");
    let new = write(folder.path(), "b@2027-01-01.tsv", "10 11488-4 yes s\n40 11488-4 yes t\n");
    let twin = write(folder.path(), "c@2027-01-01.tsv", "10 11488-4 no s\n");
    let wrong = write(folder.path(), "d@2028-01-01.tsv", "10 15508 yes s\n");
    assert!(told(&["matrix", "check", &old, &new]).contains("note: "));
    assert!(refused(&["matrix", "check", &new, &twin]).contains("fault"));
    let fault = habilis(&["matrix", "check", &wrong]);
    assert!(String::from_utf8_lossy(&fault.stdout).contains("type « 15508 »: is not in JDV_J66"));
    assert_eq!(told(&["matrix", "diff", &old, &new]), "opened    40 × 11488-4: no → yes (t)\n");

    // A table of somebody else's becomes a file, whole; what is there is not overwritten unasked.
    let csv = folder.path().join("annexe.csv");
    std::fs::write(&csv, "codes_profession,type_code,consultation\n10;60,11488-4,oui\n40,11488-4,non\n")
        .unwrap();
    let output = folder.path().join("imported.tsv");
    let import = |more: &[&str]| {
        let (csv, output) = (csv.to_str().unwrap(), output.to_str().unwrap());
        let fixed = ["matrix", "import", csv, "--version", "i", "--in-force", "2023-10-29", "--kind", "known"];
        habilis(&[&fixed[..], &["--provenance", "annexe", "--output", output], more].concat())
    };
    assert!(import(&[]).status.success());
    let written = std::fs::read_to_string(&output).unwrap();
    assert!(written.contains("60\t11488-4\tyes\tannexe") && written.contains("40\t11488-4\tno\tannexe"));
    assert!(!import(&[]).status.success() && import(&["--force"]).status.success());
    std::fs::write(&csv, "codes_profession,type_code,consultation\n10,11488-4,oui\n10,11488-4,non\n").unwrap();
    assert!(!import(&["--force"]).status.success(), "a contradiction");
    assert_eq!(std::fs::read_to_string(&output).unwrap(), written, "nothing is written");
    let left: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".part"))
        .collect();
    assert!(left.is_empty());
    // The server is as strict as the check.
    let refused = super::config::refusal(|text| format!("{text}[rights]\nmatrix = [\"{new}\", \"{twin}\"]\n"));
    assert!(refused.contains("in force 2027-01-01: 2 versions"), "{refused}");
    for (section, expected) in [
        ("[rights]\nauthorisation-days = 0\n", "1 to 3650"),
        ("[patient-side]\ncertificates = [\"1750000044/ SI patient\"]\n", "Struct_IdNat/common name"),
        ("[patient-side]\ncertificates = [\"17 50/SI patient\"]\n", "Struct_IdNat/common name"),
    ] {
        let told = super::config::refusal(|text| format!("{text}{section}"));
        assert!(told.contains(expected), "{told}");
    }
}

/// The traces of a server, verified and proven from outside it.
#[test]
fn the_traces_are_verified_and_proven() {
    use habilis::audit::merkle::{is_consistent, is_included};

    let world = World::start(Engine::Sqlite);
    let answer = world.client("cps-medecin").exists(OTHER);
    let request_id = answer.request_id().to_owned();
    let (data, certs) = (world.data.clone(), world.certs.clone());
    let database = world.database_url.clone();
    let place = ["--data", data.to_str().unwrap(), "--certs", certs.to_str().unwrap(), "--database", &database];
    fn of<'a>(place: &[&'a str], what: &[&'a str]) -> Vec<&'a str> {
        [&["audit"], what, place].concat()
    }
    macro_rules! audit {
        ($($what:expr),+) => { of(&place, &[$($what),+]) };
    }
    // What was signed is at hand after some seconds.
    let inclusion = loop {
        let output = habilis(&audit!("prove", "inclusion", "--request-id", &request_id));
        if output.status.success() {
            break serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap();
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
    };
    let hash = |value: &serde_json::Value| -> [u8; 32] {
        use base64::Engine as _;
        let bytes = base64::engine::general_purpose::STANDARD.decode(value.as_str().unwrap()).unwrap();
        bytes.try_into().unwrap()
    };
    let hashes = |value: &serde_json::Value| value.as_array().unwrap().iter().map(hash).collect::<Vec<_>>();
    let note: Vec<&str> = inclusion["checkpoint"].as_str().unwrap().lines().collect();
    let (index, size) = (inclusion["index"].as_u64().unwrap(), note[1].parse::<u64>().unwrap());
    let (leaf, root) = (hash(&inclusion["leafHash"]), hash(&note[2].into()));
    assert!(is_included(index, size, leaf, &hashes(&inclusion["proof"]), &root));
    assert!(!is_included(index, size, root, &hashes(&inclusion["proof"]), &root), "control");
    assert_eq!(inclusion["trace"]["operation"], "TD0.2 test existence");

    let verified = told(&audit!("verify"));
    assert!(verified.contains("all is as it was written"), "{verified}");
    let key = told(&audit!("key"));
    assert!(key.starts_with("sandbox.habilis+"), "{key}");
    assert!(told(&audit!("verify", "--public-key", key.trim())).contains("all is as it was written"));
    let foreign = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    assert!(refused(&audit!("verify", "--public-key", foreign)).contains("not as they were written"));

    let (from, to) = ("1", size.to_string());
    let consistency = told(&audit!("prove", "consistency", "--node", "1", "--from", from, "--to", &to));
    let consistency: serde_json::Value = serde_json::from_str(&consistency).unwrap();
    let first = world.traces()[0].leaf_hash.clone().unwrap().try_into().unwrap();
    assert!(is_consistent((1, &first), (size, &root), &hashes(&consistency["proof"])));

    // The traces of a professional over a period, with their places; not over another.
    let file = |name: &str| world.data.join(name).display().to_string();
    for (name, from, until, lines) in [
        ("a.jsonl", "2020-01-01", "2100-01-01", 1),
        ("a.csv", "2020-01-01", "2100-01-01", 2),
        ("b.jsonl", "2020-01-01", "2020-12-31", 0),
    ] {
        let path = file(name);
        let period =
            ["export", "--professional", "810100000016", "--from", from, "--until", until, "--output", &path];
        told(&of(&place, &period));
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), lines, "{text}");
        assert_eq!(text.contains(&request_id), lines > 0, "{text}");
        assert!(refused(&of(&place, &period)).contains("cannot make"), "nothing is written over");
    }

    // Of a structure: what anybody did for it, and nothing of another.
    let session = |structure: &str| {
        let form = [("grant_type", "client_credentials"), ("structure", structure)];
        let answer = world.client("cps-medecin").ask_token(&form);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.request_id().to_owned()
    };
    let (hospital, practice) = (session("1750000010"), session("1750000101"));
    for (name, structure, of_it, of_another) in
        [("h.jsonl", "1750000010", &hospital, &practice), ("p.jsonl", "1750000101", &practice, &hospital)]
    {
        let path = file(name);
        let period = [
            "export",
            "--structure",
            structure,
            "--from",
            "2020-01-01",
            "--until",
            "2100-01-01",
            "--output",
            &path,
        ];
        told(&of(&place, &period));
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(of_it.as_str()) && !text.contains(of_another.as_str()), "{structure}: {text}");
    }

    // Somebody changes a row: it is named, and the command fails.
    let written = world.traces().remove(0);
    world.sql("UPDATE trace SET caller_id = 'x' WHERE leaf = 0");
    let output = habilis(&audit!("verify"));
    assert!(!output.status.success());
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("FAULT node 1, trace 0: the row (sequence 1) is not what was written"), "{told}");
    world.sql(&format!("UPDATE trace SET caller_id = '{}' WHERE leaf = 0", written.caller_id));
    assert_eq!(world.traces()[0], written);
}

fn indicators(engine: Engine) {
    let world = World::start(engine);
    let (doctor, staff) = (world.client("cps-medecin"), world.client("cpe-secretaire"));
    doctor.authorise(OTHER);
    // What the sandbox itself prepared is a doctor's too.
    let prepared = world.rows("document");
    let feed = |client: &crate::support::Client, number: usize, masked: bool| {
        let unique_id = format!("2.25.980.{number}");
        let labels: &[&str] = if masked { &["N", "MASQUE_PS"] } else { &["N"] };
        let example = Example { labels, ..Example::new(TEST, OTHER, "X", &unique_id) };
        assert_eq!(client.post("/DocumentReference", example.single()).status, 201);
    };
    (0..6).for_each(|number| feed(&doctor, number, number < 5));
    (6..8).for_each(|number| feed(&staff, number, false));
    (0..5).for_each(|number| assert_eq!(doctor.delete_document(&format!("2.25.980.{number}")).status, 200));
    (0..7).for_each(|_| assert_eq!(doctor.find(OTHER).status, 200));
    let output = world.data.join("indicators.csv").display().to_string();
    let arguments =
        ["indicators", "--database", &world.database_url, "--from", "2020-01-01", "--until", "2100-01-01"];
    let said = told(&[&arguments[..], &["--threshold", "3", "--output", &output]].concat());
    let text = std::fs::read_to_string(&output).unwrap();
    let lines: Vec<&str> = text.lines().skip(1).collect();
    let count = |begins: &str, holds: &str| -> i64 {
        let of = lines.iter().filter(|line| line.starts_with(begins) && line.contains(holds));
        of.map(|line| line.rsplit(',').next().unwrap().parse::<i64>().unwrap()).sum()
    };
    assert_eq!(count("documents alimentés,", ",professionnel,"), 6 + prepared, "{text}");
    assert_eq!(count("documents supprimés,", ",professionnel,"), 5);
    assert_eq!(count("accès,CPS,normal,", ""), 7);
    // Two of the secretary are too few to be told, and no sum tells of them.
    assert_eq!((count("documents alimentés,", "personnel"), count("documents masqués,", "")), (0, 0));
    assert!(said.contains("counts below 3 left out") && !said.starts_with('0'), "{said}");
    for identifier in [OTHER, "810100000016", "3750000101", "2.25.980", "OUVERT"] {
        assert!(!text.contains(identifier), "{identifier}");
    }
}

crate::on_both_engines!(indicators);

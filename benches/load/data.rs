//! What a server is loaded with, and what is then asked of it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use habilis::sandbox::example::{Example, consent};
use indicatif::{ProgressBar, ProgressStyle};

use super::rig::{self, Server, TEST, exchange, get, patch, post};
use super::{Kind, Options};

const BODY: usize = 20 << 10;
/// Of so many records documents are read, masked, and opened in an emergency.
const SAMPLED: usize = 100;

/// A record's INS: thirteen digits and their key.
fn ins(number: u64) -> String {
    let body = 1_500_175_000_000 + number;
    format!("{body}{:02}", 97 - body % 97)
}

/// The sandbox's table of further records.
pub fn records(count: usize) -> String {
    let line = |number| format!("{TEST}\t{}\tCHARGE\tPATIENT\t1950-01-01\n", ins(number));
    (0..count as u64).map(line).collect()
}

/// A server with documents.
pub struct Loaded {
    pub records: usize,
    pub documents: usize,
    /// Documents fed in a second, and bytes of database and bodies for each.
    pub rate: f64,
    pub bytes_per_document: f64,
    binaries: Vec<String>,
    references: Vec<String>,
    tokens: Vec<(String, String)>,
    next: AtomicUsize,
}

impl Loaded {
    /// Feeds documents, and declares an authorisation for each record.
    pub fn feed(server: &Server, database: &str, options: &Options) -> Self {
        let total = options.records * options.documents;
        let bar = ProgressBar::new(total as u64);
        bar.set_style(
            ProgressStyle::with_template("feeding {bar:30} {human_pos}/{human_len} {per_sec} ({eta})")
                .expect("a template"),
        );
        let before = rig::bytes_of(database, &server.data());
        let (next, begun) = (AtomicUsize::new(0), std::time::Instant::now());
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    let mut connection = server.connect();
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= total {
                            return;
                        }
                        let (record, document) = (number / options.documents, number % options.documents);
                        let (ins, id) = (ins(record as u64), format!("2.25.91.{number}"));
                        if document == 0 {
                            exchange(&mut connection, &post("/Consent", &consent(TEST, &ins)));
                        }
                        let example = Example { size: BODY, ..Example::new(TEST, &ins, "CHARGE", &id) };
                        exchange(&mut connection, &post("", &example.transaction()));
                        bar.inc(1);
                    }
                });
            }
        });
        bar.finish_and_clear();
        let rate = total as f64 / begun.elapsed().as_secs_f64();
        let bytes = rig::bytes_of(database, &server.data()).saturating_sub(before);
        let sampled = Mutex::new((Vec::new(), Vec::new(), Vec::new()));
        let mut connection = server.connect();
        for record in 0..SAMPLED.min(options.records) {
            let ins = ins((record * options.records / SAMPLED.min(options.records)) as u64);
            let found = exchange(&mut connection, &query(&ins, None));
            let found = String::from_utf8_lossy(&found).into_owned();
            let mut sampled = sampled.lock().expect("no panic");
            sampled.0.extend(ids(&found, "/fhir/Binary/"));
            sampled.1.extend(ids(&found, "/fhir/DocumentReference/"));
            let token = emergency(server, &ins);
            sampled.2.push((ins, token));
        }
        let (binaries, references, tokens) = sampled.into_inner().expect("no panic");
        Self {
            records: options.records,
            documents: options.documents,
            rate,
            bytes_per_document: bytes as f64 / total as f64,
            binaries,
            references,
            tokens,
            next: AtomicUsize::new(total),
        }
    }

    /// What is asked.
    pub fn kinds(&self) -> Vec<Kind<'_>> {
        let next = || self.next.fetch_add(1, Ordering::Relaxed);
        // Far from one another each time, and the same sequence in each run.
        let any = move |count: usize| next().wrapping_mul(2_654_435_761) % count.max(1);
        vec![
            kind("handshake", true, Box::new(|| get("/fhir/metadata"))),
            kind("query", false, Box::new(move || query(&ins(any(self.records) as u64), None))),
            kind("retrieve", false, {
                Box::new(move || get(&format!("/fhir/Binary/{}", self.binaries[any(self.binaries.len())])))
            }),
            kind("emergency read", false, {
                Box::new(move || {
                    let (ins, token) = &self.tokens[any(self.tokens.len())];
                    query(ins, Some(token))
                })
            }),
            kind("mask", false, {
                Box::new(move || {
                    let number = next();
                    let id = &self.references[number.wrapping_mul(2_654_435_761) % self.references.len()];
                    // Each is masked, and the next time round unmasked.
                    let label =
                        if (number / self.references.len()).is_multiple_of(2) { "MASQUE_PS" } else { "N" };
                    let labels = format!(
                        r#"[{{"op":"replace","path":"/securityLabel","value":[{{"coding":[{{"code":"{label}"}}]}}]}}]"#
                    );
                    patch(&format!("/DocumentReference/{id}"), &labels)
                })
            }),
            kind("feed", false, {
                Box::new(move || {
                    let number = next();
                    let (ins, id) = (ins((number % self.records) as u64), format!("2.25.91.{number}"));
                    post("", &Example { size: BODY, ..Example::new(TEST, &ins, "CHARGE", &id) }.transaction())
                })
            }),
        ]
    }
}

fn kind<'a>(name: &'static str, fresh: bool, next: Box<dyn Fn() -> Vec<u8> + Sync + 'a>) -> Kind<'a> {
    Kind { name, fresh, next }
}

fn query(ins: &str, token: Option<&str>) -> Vec<u8> {
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    format!(
        "GET /fhir/DocumentReference?patient.identifier={TEST}%7C{ins}&status=current&_count=20 HTTP/1.1\r\nHost: localhost\r\n{authorization}\r\n"
    )
    .into_bytes()
}

/// A session that breaks the glass of one record.
fn emergency(server: &Server, ins: &str) -> String {
    let form = format!(
        "grant_type=client_credentials&purpose_of_use=bris_de_glace&motif=inconscient&patient={TEST}%7C{ins}"
    );
    let request = format!(
        "POST /oauth2/token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    );
    let issued = exchange(&mut server.connect(), request.as_bytes());
    let issued = String::from_utf8_lossy(&issued).into_owned();
    let (_, token) = issued.split_once("\"access_token\":\"").expect("a token");
    token.split_once('"').expect("its end").0.to_owned()
}

fn ids(text: &str, mark: &str) -> Vec<String> {
    let id = |(at, _): (usize, &str)| text[at + mark.len()..].chars().take(36).collect();
    let mut ids: Vec<String> = text.match_indices(mark).map(id).collect();
    ids.sort();
    ids.dedup();
    ids
}

/// Generates records of as many documents, in the database: without bodies, and with a short resource. Their keys lie between those that were
/// fed.
pub fn grow(database: &str, options: &Options) {
    let bar = ProgressBar::new(options.grow);
    bar.set_style(
        ProgressStyle::with_template("growing {bar:30} {human_pos}/{human_len} ({eta})").expect("a template"),
    );
    const STEP: u64 = 20_000;
    for from in (0..options.grow).step_by(STEP as usize) {
        let until = (from + STEP).min(options.grow);
        rig::execute(database, &statements(database, from, until, options));
        bar.set_position(until);
    }
    bar.finish_and_clear();
    rig::execute(database, "ANALYZE");
}

fn statements(database: &str, from: u64, until: u64, options: &Options) -> String {
    let sqlite = database.starts_with("sqlite");
    let first = 1_600_175_000_000_u64;
    // A multiplicative hash: the keys of neighbours are far apart, as those of random identifiers.
    let numbers = |name: &str, from: u64, until: u64| match sqlite {
        true => format!(
            "(WITH RECURSIVE n({name}) AS (SELECT {from} UNION ALL SELECT {name} + 1 FROM n WHERE {name} < {last}) SELECT {name} FROM n)",
            last = until - 1
        ),
        false => format!("(SELECT generate_series({from}::bigint, {}) AS {name})", until - 1),
    };
    let (hex, pad) = match sqlite {
        true => ("printf('%08x', (i * 2654435761) % 4294967296)", "printf('%02d', 97 - (FIRST + i) % 97)"),
        false => (
            "lpad(to_hex((i * 2654435761) % 4294967296), 8, '0')",
            "lpad((97 - (FIRST + i) % 97)::text, 2, '0')",
        ),
    };
    let pad = pad.replace("FIRST", &first.to_string());
    let ins = format!("(({first} + i) || {pad})");
    let template = format!("(SELECT id FROM record WHERE ins_value = '{}')", super::data::ins(0));
    let mut all = String::new();
    let mut copy = |table: &str, replaced: &[(&str, String)], source: String| {
        let columns = rig::columns(database, table);
        let value = |column: &String| {
            replaced
                .iter()
                .find(|(name, _)| name == column)
                .map_or_else(|| format!("t.{column}"), |(_, value)| value.clone())
        };
        let values: Vec<String> = columns.iter().map(value).collect();
        all.push_str(&format!(
            "INSERT INTO {table} ({}) SELECT {} FROM {source};\n",
            columns.join(", "),
            values.join(", ")
        ));
    };
    let i = numbers("i", from, until);
    let id = format!("({hex} || '-grown')");
    copy(
        "record",
        &[("id", id.clone()), ("ins_value", ins)],
        format!("record t, {i} AS numbers WHERE t.id = {template} ORDER BY 1"),
    );
    let j = numbers("j", 0, options.documents as u64);
    let name = format!("({hex} || '-' || j)");
    copy(
        "document",
        &[
            ("record_id", id),
            ("id", name.clone()),
            ("unique_id", name.clone()),
            ("binary_id", name.clone()),
            ("date", "(t.date + j)".to_owned()),
            ("resource", "'{}'".to_owned()),
            ("fed_as", "''".to_owned()),
        ],
        format!(
            "(SELECT * FROM document WHERE record_id = {template} LIMIT 1) AS t, {i} AS numbers, {j} AS documents ORDER BY 1, j"
        ),
    );
    all
}

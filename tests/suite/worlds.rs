//! Random worlds: documents that a caller may not see are added, edited and taken away, and nothing that it gets changes: no entry, no
//! total, no page, no look-up, no list. A variant that filters behind the query fails the same test.
//!
//! `HABILIS_WORLDS=10000 scripts/test random_worlds` runs as many as one likes.

use std::collections::HashSet;
use std::sync::Arc;

use habilis::audit::TraceContext;
use habilis::identity::{AccessMode, Actor, Caller, Profession};
use habilis::operations::{Call, find_documents, read_document};
use habilis::rights::{Decision, DocumentFacts, DocumentStatus, FeedPurpose, Labels, RecordFacts, Scope};
use habilis::store::{
    Known, NewDocument, NewSubmission, NewTerm, Page, Reader, RecordKey, SearchCriteria, SearchPage, Step,
    SubmissionSetCriteria, Submitted, TermKind, TermTest,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use crate::on_both_engines;
use crate::support::{Engine, OTHER, PatientSide, World};

on_both_engines!(random_worlds);

const TREATED: &str = "144027599900963";
const PAGES: [usize; 5] = [1, 5, 16, 53, 100];
/// Read by a doctor, not by a dentist (75496-0) or by nobody (the last).
const TYPES: [&str; 4] = ["11488-4", "34133-9", "75496-0", "ATTEST-RESID"];
const OTHER_AUTHOR: &str = "810100000024";

/// A document of a world.
#[derive(Clone, Debug)]
struct Spec {
    kind: usize,
    masked: bool,
    invisible_to_patient: bool,
    archived: bool,
    status: usize,
    own: bool,
    day: i64,
    /// It replaced one of the documents before it.
    replaces: Option<prop::sample::Index>,
}

/// A world: who asks, what the patient decided, and which documents are there.
#[derive(Clone, Debug)]
struct Setting {
    caller: usize,
    all_masked: bool,
    masked_open: bool,
    first: Vec<Spec>,
    later: Vec<Spec>,
    edits: Vec<Spec>,
}

fn spec() -> impl Strategy<Value = Spec> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), prop::bool::weighted(0.3));
    let replaces = prop::option::weighted(0.3, any::<prop::sample::Index>());
    (0..TYPES.len(), flags, 0..3_usize, 0..4_i64, replaces).prop_map(
        |(kind, (masked, invisible_to_patient, archived, own), status, day, replaces)| Spec {
            kind,
            masked,
            invisible_to_patient,
            archived,
            // Most are current.
            status: if day == 0 { status } else { 0 },
            own,
            day,
            replaces,
        },
    )
}

fn setting() -> impl Strategy<Value = Setting> {
    let some = |most: usize| prop::collection::vec(spec(), 0..most);
    // Now and then more than the largest page.
    let first = prop_oneof![8 => some(30), 1 => prop::collection::vec(spec(), 120..220)];
    (0..CALLERS, prop::bool::weighted(0.2), any::<bool>(), first, some(40), some(20)).prop_map(
        |(caller, all_masked, masked_open, first, later, edits)| Setting {
            caller,
            all_masked,
            masked_open,
            first,
            later,
            edits,
        },
    )
}

const CALLERS: usize = 6;

/// Who asks, and about which record.
fn caller(number: usize) -> (Caller, &'static str) {
    let professional = |id: &str, profession: &str| {
        Caller::by_card(Actor::Professional {
            id: id.into(),
            profession: Profession::new(profession),
            specialities: Vec::new(),
            in_training: false,
        })
    };
    let emergency = |caller: Caller, mode| Caller { mode, ..caller };
    match number {
        0 => (professional("810100000016", "10"), OTHER),
        1 => (professional("810100000032", "40"), OTHER),
        2 => (professional("810100000040", "60"), OTHER),
        3 => (professional("810100000016", "10"), TREATED),
        4 => (emergency(professional("810100000099", "10"), AccessMode::BrisDeGlace), OTHER),
        _ => (emergency(professional("810100000099", "10"), AccessMode::Centre15), OTHER),
    }
}

type Search<'a> = &'a dyn Fn(&mut Reader<'_>, &Caller, &Scope, &SearchCriteria, &Page, i64) -> SearchPage;

/// A server, and what a world is played with.
struct Stage {
    world: World,
    runtime: tokio::runtime::Runtime,
    next: std::cell::Cell<u64>,
}

impl Stage {
    fn start(engine: Engine) -> Self {
        let world = World::start(engine);
        for card in ["cps-medecin", "cps-dentiste", "cps-infirmier"] {
            world.client(card).authorise(OTHER);
        }
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { world, runtime, next: std::cell::Cell::new(0) }
    }

    fn call(&self, caller: &Caller) -> Call {
        let services = self.world.services();
        let now = services.environment.now().as_microsecond();
        let trace =
            TraceContext::new(now, services.environment.next_id(), "random world", "", None, Some(caller));
        Call { caller: Arc::new(caller.clone()), trace, services, scopes: None }
    }

    fn facts(&self, caller: &Caller, key: &RecordKey) -> RecordFacts {
        let call = self.call(caller);
        let facts = call.services.store.read_here(|reader| reader.record_facts(key, caller, call.trace.at));
        facts.unwrap().unwrap()
    }

    fn scope(&self, caller: &Caller, record: &RecordFacts) -> Scope {
        let services = self.world.services();
        services.tables.decide_scope(caller, record, services.environment.now()).granted().unwrap()
    }

    fn document(
        &self,
        record: &RecordFacts,
        caller: &Caller,
        spec: &Spec,
        older: &[DocumentFacts],
    ) -> NewDocument {
        let number = self.next.get();
        self.next.set(number + 1);
        let id = format!("world-{number:08}");
        let binary_id = format!("binary-{number:08}");
        let replaced = spec.replaces.filter(|_| !older.is_empty()).map(|index| index.get(older).id.clone());
        let relates = replaced.as_ref().map_or(String::new(), |older| {
            format!(",\"relatesTo\":[{{\"code\":\"replaces\",\"target\":{{\"reference\":\"DocumentReference/{older}\"}}}}]")
        });
        let resource = format!(
            "{{\"resourceType\":\"DocumentReference\",\"id\":\"{id}\",\"status\":\"current\",\"content\":[{{\"attachment\":{{\"url\":\"Binary/{binary_id}\"}}}}]{relates}}}"
        );
        let link = i32::try_from(resource.find("Binary/").unwrap()).unwrap();
        NewDocument {
            record_id: record.id.clone(),
            date: 1_700_000_000_000_000 + spec.day * 86_400_000_000,
            unique_id: format!("urn:oid:2.25.900{number}"),
            binary_id,
            submission_set_id: format!("world-set-{number}"),
            position: 0,
            version: 1,
            status: [DocumentStatus::Current, DocumentStatus::Superseded, DocumentStatus::EnteredInError]
                [spec.status]
                .code(),
            type_code: TYPES[spec.kind].into(),
            class_code: "10".into(),
            format_code: String::new(),
            facility_code: String::new(),
            setting_code: String::new(),
            creation: 0,
            creation_end: 1,
            period_start: Some(spec.day),
            period_end: None,
            masked: spec.masked,
            invisible_to_patient: spec.invisible_to_patient,
            invisible_to_representatives: false,
            archived: spec.archived,
            author_id: if spec.own { caller.id() } else { OTHER_AUTHOR }.into(),
            author_structure: None,
            created_at: 1,
            sha256: String::new(),
            size: 1,
            content_type: "text/xml".into(),
            body_key: format!("world/{number}"),
            fed_as: String::new(),
            link,
            visible_from: spec.invisible_to_patient.then_some(i64::MAX),
            // Older than anything that is asked about, but for what is added later.
            updated_at: 1,
            replaces_id: replaced,
            resource,
            id,
        }
    }

    /// Keeps documents as a feed would.
    fn keep(&self, record: &RecordFacts, documents: Vec<NewDocument>) {
        if documents.is_empty() {
            return;
        }
        let feeder = caller(0).0;
        let call = self.call(&feeder);
        let record = RecordFacts { ..record.clone() };
        let now = call.services.environment.now();
        let grant = match call.services.tables.decide_feed(&feeder, &record, FeedPurpose::New, now) {
            Decision::Permit(grant) => grant,
            other => panic!("{other:?}"),
        };
        let trace = call.trace.granted(201, "random world", Some(&record.id), &[]);
        // A submission set of several documents, some of which may be hidden.
        let set = documents[0].submission_set_id.clone();
        let terms = documents.iter().map(|document| NewTerm {
            owner_id: document.id.clone(),
            kind: TermKind::Event.code(),
            token: format!("urn:x|{}", document.type_code),
            value: document.type_code.clone(),
        });
        let terms = terms.collect();
        let documents =
            documents.into_iter().map(|one| NewDocument { submission_set_id: set.clone(), ..one }).collect();
        let resource = "{\"resourceType\":\"List\"}".into();
        let folders = Vec::new();
        let (created_at, date, vaccinations, bodies) = (1, 1, Vec::new(), Vec::new());
        let submission = NewSubmission {
            id: set,
            resource,
            created_at,
            date,
            documents,
            folders,
            terms,
            vaccinations,
            bodies,
        };
        let work = call.services.store.writer().commit(move |transaction| {
            let kept = transaction.submit(&grant, &[], &submission)?;
            assert_eq!(kept, Submitted::Stored);
            Ok(Step { value: (), trace: trace.clone(), keep: true })
        });
        self.runtime.block_on(work).unwrap().into_inner();
    }

    fn kept(&self, record: &RecordFacts) -> Vec<DocumentFacts> {
        let services = self.world.services();
        let now = services.environment.now().as_microsecond();
        services
            .store
            .read_here(|reader| {
                let mut facts = Vec::new();
                for number in 0..self.next.get() {
                    let id = format!("world-{number:08}");
                    facts.extend(reader.document(&id, now)?.map(|document| document.facts));
                }
                Ok(facts)
            })
            .unwrap()
            .into_iter()
            .filter(|facts| facts.record_id == record.id)
            .collect()
    }

    /// All that the caller can get of the record; `hidden`: what it is to know nothing of.
    fn observe(
        &self,
        caller: &Caller,
        record: &RecordFacts,
        hidden: &[DocumentFacts],
        search: Search<'_>,
    ) -> Vec<String> {
        let call = self.call(caller);
        let scope = self.scope(caller, record);
        let now = call.trace.at;
        let told = std::cell::RefCell::new(Vec::new());
        let tell = |line: String| told.borrow_mut().push(line);
        let criteria = |change: &dyn Fn(&mut SearchCriteria)| {
            let mut criteria = SearchCriteria::default();
            change(&mut criteria);
            criteria
        };
        let hidden_ids: Vec<String> = hidden.iter().take(20).map(|facts| facts.id.clone()).collect();
        let all = criteria(&|_| {});
        let current = criteria(&|criteria| criteria.statuses = vec![vec!["current".into()]]);
        let walk = |reader: &mut Reader<'_>, name: &str, criteria: &SearchCriteria, size: usize| {
            let mut after = None;
            loop {
                let page = search(
                    reader,
                    caller,
                    &scope,
                    criteria,
                    &Page { size, after: after.take(), ascending: size == 16 },
                    now,
                );
                let texts: Vec<&str> = page.entries.iter().map(|entry| entry.resource.as_str()).collect();
                tell(format!(
                    "{name} by {size}: {} of {}: {:?} {texts:?}",
                    page.ids.len(),
                    page.total,
                    page.ids
                ));
                match page.next {
                    Some(next) => after = Some(next),
                    None => return,
                }
            }
        };
        call.services
            .store
            .read_here(|reader| {
                for size in PAGES {
                    walk(reader, "all", &all, size);
                }
                walk(reader, "count", &all, 0);
                for size in [5, 100] {
                    walk(reader, "current", &current, size);
                }
                for kind in TYPES {
                    walk(reader, kind, &criteria(&|criteria| criteria.types = vec![vec![kind.into()]]), 100);
                }
                for id in &hidden_ids {
                    walk(reader, "named", &criteria(&|criteria| criteria.ids = vec![vec![id.clone()]]), 5);
                }
                for kind in TYPES {
                    let test = TermTest {
                        kind: TermKind::Event,
                        tokens: vec![format!("urn:x|{kind}")],
                        values: Vec::new(),
                        prefixes: Vec::new(),
                    };
                    walk(reader, "event", &criteria(&|criteria| criteria.terms = vec![test.clone()]), 100);
                }
                walk(reader, "replaced", &criteria(&|criteria| criteria.replaced = hidden_ids.clone()), 100);
                tell(format!("news: {}", reader.has_changed_since(&scope, 2, now)?));
                for size in [1, 100] {
                    let page = Page { size, after: None, ascending: false };
                    let sets = SubmissionSetCriteria { with_documents: true, ..Default::default() };
                    let found = reader.submission_sets(&scope, &sets, &page, now)?;
                    let included: Vec<&String> = found.included.iter().map(|entry| &entry.path).collect();
                    let texts: Vec<&String> = found.page.entries.iter().map(|entry| &entry.resource).collect();
                    tell(format!("sets: {} {:?} {texts:?} {included:?}", found.page.total, found.page.next));
                }
                let known: Vec<Known> =
                    hidden_ids.iter().map(|id| Known { id: id.clone(), version: None }).collect();
                for since in [None, Some(0)] {
                    tell(format!("changes: {:?}", reader.changes(&scope, since, &known, 7)?));
                }
                Ok(())
            })
            .unwrap();
        // By their addresses: what is hidden is answered like what is not there.
        for id in hidden_ids.iter().take(3) {
            let read = self.runtime.block_on(read_document::read(&call, id.clone())).map(drop);
            let read = format!("read: {:?}", read.map_err(|failure| failure.to_string()));
            let missing = format!("{id}-not");
            let absent = self.runtime.block_on(read_document::read(&call, missing)).map(drop);
            assert_eq!(read, format!("read: {:?}", absent.map_err(|failure| failure.to_string())));
            tell(read);
        }
        told.into_inner()
    }

    /// Plays one world; what was told before and after.
    fn play(&self, setting: &Setting, search: Search<'_>) -> (Vec<String>, Vec<String>) {
        let (caller, ins) = caller(setting.caller);
        let record_id = PatientSide::of(&self.world).record(ins).id;
        self.world.sql(&format!("DELETE FROM search_term WHERE owner_id LIKE 'world-%'; DELETE FROM document WHERE id LIKE 'world-%'; DELETE FROM submission_set WHERE id LIKE 'world-%'; UPDATE record SET all_masked = {}, masked_open_in_emergencies = {} WHERE id = '{record_id}'",
            setting.all_masked, setting.masked_open));
        self.next.set(0);
        let record = self.facts(&caller, &RecordKey::Id(record_id));
        let scope = self.scope(&caller, &record);
        let sees = |facts: &DocumentFacts| scope.admit(facts).granted().is_ok();
        let mut before: Vec<NewDocument> = Vec::new();
        let mut older: Vec<DocumentFacts> = Vec::new();
        for spec in &setting.first {
            let new = self.document(&record, &caller, spec, &older);
            older.push(facts_of(&new));
            before.push(new);
        }
        self.keep(&record, before);
        let first = self.kept(&record);
        let mut hidden: Vec<DocumentFacts> = first.iter().filter(|facts| !sees(facts)).cloned().collect();
        // Those that come later and are seen by nobody like the caller.
        let later: Vec<NewDocument> = setting
            .later
            .iter()
            .map(|spec| NewDocument {
                updated_at: 3,
                ..self.document(&record, &caller, &Spec { replaces: None, ..spec.clone() }, &[])
            })
            .filter(|new| !sees(&facts_of(new)))
            .collect();
        let known: HashSet<String> = hidden.iter().map(|facts| facts.id.clone()).collect();
        hidden.extend(later.iter().map(facts_of));
        let told = self.observe(&caller, &record, &hidden, search);
        self.keep(&record, later);
        // What is hidden is edited, as long as it stays hidden; and some of it goes.
        for (facts, edit) in hidden.iter().zip(&setting.edits) {
            let edited = DocumentFacts {
                labels: Labels {
                    masked: edit.masked,
                    invisible_to_patient: edit.invisible_to_patient,
                    ..facts.labels
                },
                archived: edit.archived,
                type_code: TYPES[edit.kind].into(),
                ..facts.clone()
            };
            // Masking a version covers older ones: that would change what is seen.
            if sees(&edited) || first.iter().any(|one| one.id == facts.id && edit.masked != facts.labels.masked)
            {
                continue;
            }
            let gone = edit.day == 3 && !known.contains(&facts.id);
            let statement = match gone {
                true => format!("DELETE FROM document WHERE id = '{}'", facts.id),
                false => format!(
                    "UPDATE document SET masked = {}, invisible_to_patient = {}, archived = {}, type_code = '{}', version = 9, updated_at = 9, resource = '{{}}' WHERE id = '{}'",
                    edit.masked, edit.invisible_to_patient, edit.archived, TYPES[edit.kind], facts.id
                ),
            };
            self.world.sql(&statement);
        }
        (told, self.observe(&caller, &record, &hidden, search))
    }
}

fn facts_of(new: &NewDocument) -> DocumentFacts {
    DocumentFacts {
        id: new.id.clone(),
        record_id: new.record_id.clone(),
        type_code: new.type_code.clone(),
        status: DocumentStatus::of_code(new.status).unwrap(),
        labels: Labels {
            masked: new.masked,
            invisible_to_patient: new.invisible_to_patient,
            invisible_to_representatives: false,
        },
        archived: new.archived,
        author_id: new.author_id.clone(),
        author_structure: None,
        by_patient: false,
        version: 1,
    }
}

fn run(stage: &Stage, cases: u32, search: Search<'_>) -> Result<(), String> {
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let mut runner = TestRunner::new(config);
    let played = runner.run(&setting(), |setting| {
        let (before, after) = stage.play(&setting, search);
        let different = before.iter().zip(&after).find(|(one, other)| one != other);
        match different {
            None if before.len() == after.len() => Ok(()),
            different => Err(TestCaseError::fail(format!("{different:?}"))),
        }
    });
    played.map_err(|error| error.to_string())
}

fn random_worlds(engine: Engine) {
    let cases = std::env::var("HABILIS_WORLDS").ok().and_then(|text| text.parse().ok()).unwrap_or(60);
    let stage = Stage::start(engine);
    let at_once = std::cell::Cell::new(0_u64);
    run(&stage, cases, &|reader, caller, scope, criteria, page, now| {
        let found = reader.search(scope, criteria, page, now).unwrap();
        // As an operation does it: facts and page in one statement, as far as the record stands as supposed.
        let services = stage.world.services();
        let suppositions = services.tables.suppose(caller, services.environment.now());
        let key = RecordKey::Id(scope.record_id().to_owned());
        let (_, supposed) = reader.facts_and_page(&key, caller, &suppositions, criteria, page, now).unwrap();
        at_once.set(at_once.get() + u64::from(supposed.is_some()));
        let as_supposed = reader.search_as_supposed(scope, supposed, criteria, page, now).unwrap();
        assert_eq!(format!("{as_supposed:?}"), format!("{found:?}"), "{criteria:?} {page:?}");
        found
    })
    .unwrap();
    match engine {
        Engine::Postgres => {
            assert!(at_once.get() > 100, "only {} searches were played in one statement", at_once.get());
        }
        Engine::Sqlite => assert_eq!(at_once.get(), 0, "a statement is no round trip"),
    }
    // The control: the predicate behind the query.
    let services = stage.world.services();
    let every = services.tables.matrix.readable(&caller(0).0, services.environment.now());
    let filtered = run(&stage, 200, &|reader, _, scope, criteria, page, now| {
        let mut found = reader.search(&scope.forgetful(Arc::clone(&every)), criteria, page, now).unwrap();
        let mut seen = Vec::new();
        for id in &found.ids {
            let kept = reader.document(id, now).unwrap().unwrap();
            seen.push(scope.admit(&kept.facts).granted().is_ok());
        }
        let mut keep = seen.iter();
        found.ids.retain(|_| *keep.next().unwrap());
        let mut keep = seen.iter();
        found.entries.retain(|_| *keep.next().unwrap());
        found
    });
    assert!(filtered.is_err(), "a filter behind the query is noticed");
}

/// What the API gives for a page is what the store gave: its search is the one that was played with.
#[test]
fn the_operation_searches_by_the_same_predicate() {
    let stage = Stage::start(Engine::Sqlite);
    let (caller, ins) = caller(1);
    let record_id = PatientSide::of(&stage.world).record(ins).id;
    let record = stage.facts(&caller, &RecordKey::Id(record_id.clone()));
    let specs = TYPES.iter().enumerate().map(|(kind, _)| Spec {
        kind,
        masked: false,
        invisible_to_patient: false,
        archived: false,
        status: 0,
        own: false,
        day: 1,
        replaces: None,
    });
    let documents = specs.map(|spec| stage.document(&record, &caller, &spec, &[])).collect();
    stage.keep(&record, documents);
    let call = stage.call(&caller);
    let key = habilis::operations::PatientKey::of_id(&record_id, "patient");
    let criteria = SearchCriteria { statuses: vec![vec!["current".into()]], ..SearchCriteria::default() };
    let page = Page { size: 100, after: None, ascending: false };
    let found =
        stage.runtime.block_on(find_documents::run(&call, key, criteria.clone(), page.clone())).unwrap();
    let find_documents::Hits::Documents(told) = found.into_inner().page else { panic!("documents") };
    let scope = stage.scope(&caller, &record);
    let store = &call.services.store;
    let kept = store.read_here(|reader| reader.search(&scope, &criteria, &page, call.trace.at)).unwrap();
    assert_eq!((told.ids, told.total), (kept.ids, kept.total));
}

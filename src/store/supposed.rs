//! A search in one statement: the facts, and the page that they are supposed to open.
//!
//! ```text
//! standing   what decides, as `records` asks for it
//! held       which supposition the standing answers to: none for who will be refused
//! page       the documents that the sight of that supposition holds; with none, no document is looked for
//! ```
//!
//! The decision comes after it, on the facts, and opens the page where it gives the sight that was supposed (decision 0041).

use diesel::dsl::{AsSelect, SqlTypeOf};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text};

use super::criteria::{SearchCriteria, narrowed};
use super::documents::{Backend, seen_by};
use super::engine::DatabaseConnection;
use super::readers::Reader;
use super::records::{RecordKey, StandingRow, asks_at_once, facts_of, standing_of};
use super::relations::relation_code;
use super::schema::document;
use super::search::{FoundRow, Page, PageRow, ordered};
use super::unavailable;
use crate::error::Failure;
use crate::identity::{AccessMode, Caller};
use crate::rights::{RecordFacts, Relation, Scope, Sight, Supposition};

diesel::table! {
    /// What [`standing_of`] selects, by the names that its columns have: a part of the statement, no table.
    standing (id) {
        id -> Text,
        ins_system -> Text,
        ins_value -> Text,
        open -> Bool,
        opposed_to_bris_de_glace -> Bool,
        opposed_to_centre_15 -> Bool,
        masked_open_in_emergencies -> Bool,
        all_masked -> Bool,
        blocked -> Nullable<Bool>,
        until -> Nullable<BigInt>,
        holder -> Nullable<Text>,
        kind -> Nullable<Text>,
    }
}
diesel::table! {
    /// The supposition that holds, and for which record: a part of the statement, no table.
    held (place) {
        place -> Integer,
        record_id -> Text,
    }
}
diesel::allow_tables_to_appear_in_same_query!(held, document);
diesel::alias!(standing as another: Another);

/// A page as it was supposed: it opens with the decision that gives the same sight.
#[derive(Debug)]
pub struct SupposedPage {
    sight: Sight,
    rows: Vec<FoundRow>,
    total: Option<i64>,
}

impl SupposedPage {
    /// The rows, and the total where they do not say it; `None` where the decision is another than was supposed.
    pub(super) fn opened(self, scope: &Scope) -> Option<(Vec<FoundRow>, Option<i64>)> {
        (self.sight == *scope.sight()).then_some((self.rows, self.total))
    }
}

impl Reader<'_> {
    /// A record as it stands towards a caller, and what a search would find, as far as that could be looked for at once.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn facts_and_page(
        &mut self,
        key: &RecordKey,
        caller: &Caller,
        suppositions: &[Supposition],
        criteria: &SearchCriteria,
        page: &Page,
        now: i64,
    ) -> Result<(Option<RecordFacts>, Option<SupposedPage>), Failure> {
        // What a search by `relatesto` may go by is looked up first; so is who is blocked where one might act for many.
        let mut at_once = !suppositions.is_empty() && criteria.replaced.is_empty() && asks_at_once(caller);
        #[cfg(feature = "fault-injection")]
        {
            at_once &= !crate::faults::second_old_facts();
        }
        if !at_once {
            return Ok((self.record_facts(key, caller, now)?, None));
        }
        let statement = OneStatement::of(key, caller, suppositions, criteria, page, now);
        let rows: Vec<Row> = statement.load(self.connection).map_err(unavailable)?;
        let place = rows.first().and_then(|(_, _, _, place, ..)| *place);
        let supposed = place.and_then(|place| suppositions.get(usize::try_from(place).ok()?));
        let total = rows.first().and_then(|(.., total)| *total);
        let (mut standing, mut found) = (Vec::new(), Vec::new());
        for (record, authorisation, relation, _, row, names_hidden, _) in rows {
            standing.push((record, authorisation, relation));
            found.extend(row.map(|row| FoundRow { row, names_hidden: names_hidden == Some(true) }));
        }
        // The page stands beside each line of the standing, in no order that a statement of so many parts would promise.
        found.sort_by(|one, other| {
            let order = one.row.place().cmp(&other.row.place());
            if page.ascending { order } else { order.reverse() }
        });
        found.dedup_by(|one, other| one.row.id == other.row.id);
        let facts = facts_of(standing, caller, now);
        debug_assert_eq!(
            supposed,
            facts.as_ref().and_then(|facts| suppositions.iter().find(|one| one.holds(facts))),
            "the statement and Supposition::holds say the same of {facts:?}"
        );
        let page = supposed.map(|held| SupposedPage { sight: held.sight().clone(), rows: found, total });
        Ok((facts, page))
    }
}

type Row = (
    StandingRow,
    Option<(bool, i64, String, String)>,
    Option<String>,
    Option<i32>,
    Option<PageRow>,
    Option<bool>,
    Option<i64>,
);
type Part<'a> = Box<dyn QueryFragment<Backend> + 'a>;

/// One supposition in SQL.
struct Way<'a> {
    /// Whether it holds: its place, and the record.
    holds: Part<'a>,
    page: Part<'a>,
    /// Whether the document that another replaced is seen.
    replaced: Part<'a>,
    /// How many there are on all pages.
    count: Part<'a>,
}

struct OneStatement<'a> {
    standing: Part<'a>,
    ways: Vec<Way<'a>>,
    /// Rows of the page, one more than asked for.
    most: i64,
    /// The page does not say the total, whatever is on it.
    counts: bool,
}

impl<'a> OneStatement<'a> {
    fn of(
        key: &'a RecordKey,
        caller: &'a Caller,
        suppositions: &'a [Supposition],
        criteria: &'a SearchCriteria,
        page: &'a Page,
        now: i64,
    ) -> Self {
        let most = page.most();
        let ways = (0_i32..)
            .zip(suppositions)
            .map(|(place, supposition)| {
                let documents = || {
                    let record = held::table.filter(held::place.eq(place)).select(held::record_id);
                    let of_record = document::record_id.nullable().eq(record.single_value());
                    seen_by(document::table.filter(of_record).into_boxed(), supposition.sight(), now)
                };
                let replaced = diesel::dsl::sql::<Nullable<Text>>("page.replaces_id");
                Way {
                    holds: Box::new(holds(supposition, place, caller, now)),
                    page: Box::new(
                        ordered(narrowed(documents(), criteria, now), page)
                            .limit(most)
                            .select(PageRow::as_select()),
                    ),
                    replaced: Box::new(
                        documents().filter(document::id.nullable().eq(replaced)).select(document::id),
                    ),
                    count: Box::new(narrowed(documents(), criteria, now).select(diesel::dsl::count_star())),
                }
            })
            .collect();
        Self { standing: Box::new(standing_of(key, caller)), ways, most, counts: page.needs_count(0) }
    }
}

/// [`Supposition::holds`] in SQL. A test compares the two on every search that is made.
fn holds<'a>(
    supposition: &'a Supposition,
    place: i32,
    caller: &'a Caller,
    now: i64,
) -> impl QueryFragment<Backend> + 'a {
    let me = caller.id();
    let structure = caller.structure.as_deref().unwrap_or(me);
    let codes: Vec<&str> = supposition.relations().iter().copied().filter_map(relation_code).collect();
    let mut query = standing::table
        .filter(standing::open.eq(true))
        .filter(standing::all_masked.eq(false))
        .filter(diesel::dsl::not(diesel::dsl::exists(
            another.filter(another.field(standing::blocked).eq(true)),
        )))
        .select((place.into_sql::<Integer>(), standing::id))
        .into_boxed();
    query = match supposition.relations().contains(&Relation::None) {
        true => query.filter(standing::kind.is_null().or(standing::kind.eq_any(codes).assume_not_null())),
        false => query.filter(standing::kind.eq_any(codes)),
    };
    if supposition.authorised() {
        query = query
            .filter(standing::blocked.eq(false))
            .filter(standing::until.gt(now))
            .filter(standing::holder.eq(me).or(standing::holder.eq(structure)));
    }
    query = match supposition.mode() {
        AccessMode::Normal => query,
        AccessMode::BrisDeGlace => query
            .filter(standing::opposed_to_bris_de_glace.eq(false))
            .filter(standing::masked_open_in_emergencies.eq(false)),
        AccessMode::Centre15 => query
            .filter(standing::opposed_to_centre_15.eq(false))
            .filter(standing::masked_open_in_emergencies.eq(false)),
    };
    if let Some(only) = caller.session.as_ref().and_then(|session| session.record.as_ref()) {
        query =
            query.filter(standing::ins_system.eq(only.system())).filter(standing::ins_value.eq(only.value()));
    }
    query
}

impl Query for OneStatement<'_> {
    type SqlType = (
        SqlTypeOf<AsSelect<StandingRow, Backend>>,
        Nullable<(Bool, BigInt, Text, Text)>,
        Nullable<Text>,
        Nullable<Integer>,
        SqlTypeOf<AsSelect<Option<PageRow>, Backend>>,
        Nullable<Bool>,
        Nullable<BigInt>,
    );
}

impl QueryId for OneStatement<'_> {
    type QueryId = ();
    // Its parts differ with what is asked for: it is known by its text.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl RunQueryDsl<DatabaseConnection> for OneStatement<'_> {}

impl OneStatement<'_> {
    /// Each way's part, with something between.
    fn each<'b>(
        &'b self,
        out: &mut AstPass<'_, 'b, Backend>,
        [before, between, after]: [&str; 3],
        part: impl Fn(&'b Way<'_>) -> &'b Part<'b>,
    ) -> QueryResult<()> {
        for (place, way) in self.ways.iter().enumerate() {
            out.push_sql(if place == 0 { before } else { between });
            part(way).walk_ast(out.reborrow())?;
            out.push_sql(after);
        }
        Ok(())
    }
}

impl QueryFragment<Backend> for OneStatement<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Backend>) -> QueryResult<()> {
        out.push_sql("WITH standing AS (");
        self.standing.walk_ast(out.reborrow())?;
        out.push_sql("), held (place, record_id) AS (");
        let all = ["SELECT * FROM (", " UNION ALL SELECT * FROM (", ") AS way"];
        self.each(&mut out, all, |way| &way.holds)?;
        out.push_sql("), page AS (");
        self.each(&mut out, all, |way| &way.page)?;
        out.push_sql(
            ") SELECT standing.*, (SELECT place FROM held LIMIT 1), page.*, \
             CASE WHEN page.replaces_id IS NOT NULL THEN ",
        );
        self.each(&mut out, ["NOT EXISTS (", " AND NOT EXISTS (", ")"], |way| &way.replaced)?;
        out.push_sql(" END, ");
        if !self.counts {
            out.push_sql("CASE WHEN (SELECT count(*) FROM page) >= ");
            out.push_bind_param::<BigInt, _>(&self.most)?;
            out.push_sql(" THEN ");
        }
        self.each(&mut out, ["(", " + (", ")"], |way| &way.count)?;
        if !self.counts {
            out.push_sql(" END");
        }
        out.push_sql(" FROM standing LEFT JOIN page ON 1 = 1");
        Ok(())
    }
}

//! A search in one statement: the facts, and the page that they are supposed to open.
//!
//! ```text
//! standing   what decides, as `records` asks for it
//! held       which supposition the standing answers to: none for who will be refused
//! document   the documents that the sight of that supposition holds; with none, none
//! page       what is asked for of these
//! ```
//!
//! The decision comes after it, on the facts, and opens the page where it gives the sight that was supposed (decision 0041).

use diesel::dsl::{AsSelect, SqlTypeOf, count_star, exists, not};
use diesel::expression::{ValidGrouping, is_aggregate};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text, Untyped};

use super::criteria::{SearchCriteria, narrowed};
use super::documents::{Asked, Backend, Condition, asked_by, seen_by};
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
    /// The rows, and the total where it was asked for; `None` where the decision is another than was supposed.
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
        // Those under which the same types are read: all, but for the occupational doctor who is a médecin traitant too.
        let types = suppositions.first().map(|first| first.sight().readable());
        let suppositions: Vec<&Supposition> =
            suppositions.iter().filter(|one| Some(one.sight().readable()) == types).collect();
        // On SQLite a statement is no round trip, and two cost no more than one of so many parts. What a search by `relatesto` may go by is
        // looked up first; so is who is blocked where one might act for many.
        let at_once = matches!(self.connection, DatabaseConnection::Postgres(_))
            && criteria.replaced.is_empty()
            && asks_at_once(caller);
        #[cfg(feature = "fault-injection")]
        let at_once = at_once && !crate::faults::second_old_facts();
        let (true, Some(first)) = (at_once, suppositions.first()) else {
            return Ok((self.record_facts(key, caller, now)?, None));
        };
        let statement = OneStatement {
            standing: Box::new(standing_of(key, caller)),
            held: places(&suppositions)
                .map(|(place, one)| -> Part<'_> { Box::new(holds(one, place, caller, now)) })
                .collect(),
            document: Box::new(documents(first.sight(), &suppositions, now)),
            page: Box::new(
                ordered(asked_for(criteria, now), page).limit(page.most()).select(PageRow::as_select()),
            ),
            count: page
                .is_short()
                .then(|| -> Part<'_> { Box::new(asked_for(criteria, now).select(count_star())) }),
        };
        let rows: Vec<Row> = statement.load(self.connection).map_err(unavailable)?;
        let place = rows.first().and_then(|(_, _, _, place, ..)| *place);
        let supposed = place.and_then(|place| suppositions.get(usize::try_from(place).ok()?).copied());
        let total = rows.first().and_then(|(.., total)| *total);
        let (mut standing, mut found) = (Vec::new(), Vec::new());
        for (record, authorisation, relation, _, row, names_hidden, _) in rows {
            standing.extend(record.map(|record| (record, authorisation, relation)));
            found.extend(row.map(|row| FoundRow { row, names_hidden: names_hidden == Some(true) }));
        }
        // A statement of so many parts promises no order.
        found.sort_by(|one, other| {
            let order = one.row.place().cmp(&other.row.place());
            if page.ascending { order } else { order.reverse() }
        });
        let facts = facts_of(standing, caller, now);
        debug_assert_eq!(
            supposed,
            facts.as_ref().and_then(|facts| suppositions.iter().copied().find(|one| one.holds(facts))),
            "the statement and Supposition::holds say the same of {facts:?}"
        );
        let page = supposed.map(|held| SupposedPage { sight: held.sight().clone(), rows: found, total });
        Ok((facts, page))
    }
}

/// A line of the standing, or a document of the page.
type Row = (
    Option<StandingRow>,
    Option<(bool, i64, String, String)>,
    Option<String>,
    Option<i32>,
    Option<PageRow>,
    Option<bool>,
    Option<i64>,
);
type Part<'a> = Box<dyn QueryFragment<Backend> + 'a>;

/// The parts that diesel makes; what holds them together is in `walk_ast`.
struct OneStatement<'a> {
    standing: Part<'a>,
    /// Of each supposition: its place and the record, if it holds.
    held: Vec<Part<'a>>,
    /// The documents that are seen if one holds.
    document: Part<'a>,
    page: Part<'a>,
    /// How many there are on all pages, where the page is not likely to say it: each part costs, needed or not.
    count: Option<Part<'a>>,
}

fn places<'a>(suppositions: &[&'a Supposition]) -> impl Iterator<Item = (i32, &'a Supposition)> {
    (0..).zip(suppositions.iter().copied())
}

/// What is seen of the record for which one of these holds.
fn documents<'a>(
    readable: &'a Sight,
    suppositions: &[&'a Supposition],
    now: i64,
) -> impl QueryFragment<Backend> + 'a {
    let record = held::table.select(held::record_id).single_value();
    let of_record = document::table.filter(document::record_id.nullable().eq(record)).into_boxed();
    seen_by(of_record, readable, conditions(suppositions, now)).select(WholeRow)
}

/// Of what is called `document`: in this statement, what is seen.
fn asked_for(criteria: &SearchCriteria, now: i64) -> document::BoxedQuery<'_, Backend> {
    narrowed(document::table.into_boxed(), criteria, now)
}

/// What the sights of these ask: what all do, and what some do where it is one of them that holds.
fn conditions<'a>(suppositions: &[&'a Supposition], now: i64) -> Vec<Condition<'a>> {
    let of_each: Vec<Vec<Asked>> = suppositions.iter().map(|one| asked_by(one.sight())).collect();
    let mut conditions: Vec<Condition<'a>> = Vec::new();
    for ((place, supposition), asked) in places(suppositions).zip(&of_each) {
        for asked in asked {
            let condition = asked.condition(supposition.sight(), now);
            if !of_each.iter().all(|others| others.contains(asked)) {
                let held = held::table.select(held::place).single_value();
                conditions.push(Box::new(held.ne(place).assume_not_null().or(condition)));
            } else if place == 0 {
                conditions.push(condition);
            }
        }
    }
    conditions
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
    // What needs no bound value has none: each costs on the way (benches/README.md).
    let blocked = another.filter(another.field(standing::blocked).assume_not_null());
    let mut query = standing::table
        .filter(standing::open)
        .filter(not(standing::all_masked))
        .filter(not(exists(blocked.select(another.field(standing::id)))))
        .select((place.into_sql::<Integer>(), standing::id))
        .into_boxed();
    // Compared one by one: a list would be another statement for each length. What is not there is NULL, which equals nothing.
    let mut codes = supposition.relations().iter().copied().filter_map(relation_code);
    query = match (supposition.relations().contains(&Relation::None), codes.next(), codes.next()) {
        (true, Some(_), Some(_)) => query,
        (true, None, None) => query.filter(standing::kind.is_null()),
        (true, code, _) => query.filter(standing::kind.is_null().or(standing::kind.eq(code).assume_not_null())),
        (false, one, other) => {
            let related = standing::kind.eq(one).or(standing::kind.eq(other));
            query.filter(related)
        }
    };
    if supposition.authorised() {
        query = query
            .filter(standing::until.gt(now))
            .filter(standing::holder.eq(me).or(standing::holder.eq(structure)));
    }
    query = match supposition.mode() {
        AccessMode::Normal => query,
        AccessMode::BrisDeGlace => query
            .filter(not(standing::opposed_to_bris_de_glace))
            .filter(not(standing::masked_open_in_emergencies)),
        AccessMode::Centre15 => {
            query.filter(not(standing::opposed_to_centre_15)).filter(not(standing::masked_open_in_emergencies))
        }
    };
    if let Some(only) = caller.session.as_ref().and_then(|session| session.record.as_ref()) {
        query =
            query.filter(standing::ins_system.eq(only.system())).filter(standing::ins_value.eq(only.value()));
    }
    query
}

impl Query for OneStatement<'_> {
    type SqlType = (
        SqlTypeOf<AsSelect<Option<StandingRow>, Backend>>,
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

impl QueryFragment<Backend> for OneStatement<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Backend>) -> QueryResult<()> {
        out.push_sql("WITH standing AS (");
        self.standing.walk_ast(out.reborrow())?;
        out.push_sql("), held (place, record_id) AS (");
        for (place, held) in self.held.iter().enumerate() {
            out.push_sql(if place == 0 { "" } else { " UNION ALL " });
            held.walk_ast(out.reborrow())?;
        }
        // From here on nothing is called `document` but what the caller sees, whatever is asked of it.
        out.push_sql(" LIMIT 1), document AS NOT MATERIALIZED (");
        self.document.walk_ast(out.reborrow())?;
        out.push_sql("), page AS (");
        self.page.walk_ast(out.reborrow())?;
        out.push_sql(
            ") SELECT standing.*, (SELECT place FROM held), page.*, CASE WHEN page.replaces_id IS NOT NULL \
             THEN NOT EXISTS (SELECT 1 FROM document WHERE document.id = page.replaces_id) END, ",
        );
        match &self.count {
            None => out.push_sql("NULL::bigint"),
            Some(count) => {
                out.push_sql("(");
                count.walk_ast(out.reborrow())?;
                out.push_sql(")");
            }
        }
        // One after the other, not one beside the other.
        out.push_sql(" FROM standing FULL JOIN page ON FALSE");
        Ok(())
    }
}

/// `document.*`: every column is long to name, and a literal of diesel's would keep the statement from being prepared once.
struct WholeRow;

impl Expression for WholeRow {
    type SqlType = Untyped;
}

impl SelectableExpression<document::table> for WholeRow {}
impl AppearsOnTable<document::table> for WholeRow {}
impl<GroupBy> ValidGrouping<GroupBy> for WholeRow {
    type IsAggregate = is_aggregate::No;
}

impl QueryId for WholeRow {
    type QueryId = WholeRow;
}

impl QueryFragment<Backend> for WholeRow {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Backend>) -> QueryResult<()> {
        out.push_sql("document.*");
        Ok(())
    }
}

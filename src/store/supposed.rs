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

use diesel::dsl::{AsSelect, SqlTypeOf};
use diesel::expression::{ValidGrouping, is_aggregate};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text, Untyped};

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
        // On SQLite a statement is no round trip, and one of so many parts is dearer than two. What a search by `relatesto` may go by is
        // looked up first; so is who is blocked where one might act for many.
        let at_once = matches!(self.connection, DatabaseConnection::Postgres(_))
            && !suppositions.is_empty()
            && criteria.replaced.is_empty()
            && asks_at_once(caller);
        #[cfg(feature = "fault-injection")]
        let at_once = at_once && !crate::faults::second_old_facts();
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
            facts.as_ref().and_then(|facts| suppositions.iter().find(|one| one.holds(facts))),
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
    /// Of each supposition: the documents that are seen if it holds.
    seen: Vec<Part<'a>>,
    page: Part<'a>,
    count: Part<'a>,
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
        let (mut held, mut seen): (Vec<Part<'a>>, Vec<Part<'a>>) = (Vec::new(), Vec::new());
        for (place, supposition) in (0_i32..).zip(suppositions) {
            held.push(Box::new(holds(supposition, place, caller, now)));
            let record = held::table.filter(held::place.eq(place)).select(held::record_id).single_value();
            let documents = document::table.filter(document::record_id.nullable().eq(record)).into_boxed();
            seen.push(Box::new(seen_by(documents, supposition.sight(), now).select(WholeRow)));
        }
        // Of what is called `document` by then.
        let asked = || narrowed(document::table.into_boxed(), criteria, now);
        Self {
            standing: Box::new(standing_of(key, caller)),
            held,
            seen,
            page: Box::new(ordered(asked(), page).limit(most).select(PageRow::as_select())),
            count: Box::new(asked().select(diesel::dsl::count_star())),
            most,
            counts: page.needs_count(0),
        }
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
    // Compared one by one: a list is another statement for each length, and is prepared anew each time. No relation has the code "".
    let mut codes = supposition.relations().iter().copied().filter_map(relation_code);
    let related =
        standing::kind.eq(codes.next().unwrap_or("")).or(standing::kind.eq(codes.next().unwrap_or("")));
    let mut query = standing::table
        .filter(standing::open.eq(true))
        .filter(standing::all_masked.eq(false))
        .filter(diesel::dsl::not(diesel::dsl::exists(
            another.filter(another.field(standing::blocked).eq(true)).select(another.field(standing::id)),
        )))
        .select((place.into_sql::<Integer>(), standing::id))
        .into_boxed();
    query = match supposition.relations().contains(&Relation::None) {
        true => query.filter(standing::kind.is_null().or(related.assume_not_null())),
        false => query.filter(related),
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
        union(&self.held, &mut out)?;
        // From here on nothing is called `document` but what the caller sees, whatever is asked of it.
        out.push_sql(" LIMIT 1), document AS NOT MATERIALIZED (");
        union(&self.seen, &mut out)?;
        out.push_sql("), page AS (");
        self.page.walk_ast(out.reborrow())?;
        out.push_sql(
            ") SELECT standing.*, (SELECT place FROM held), page.*, CASE WHEN page.replaces_id IS NOT NULL \
             THEN NOT EXISTS (SELECT 1 FROM document WHERE document.id = page.replaces_id) END, ",
        );
        if self.counts {
            out.push_sql("(");
            self.count.walk_ast(out.reborrow())?;
            out.push_sql(")");
        } else {
            out.push_sql("CASE WHEN (SELECT count(*) FROM page) >= ");
            out.push_bind_param::<BigInt, _>(&self.most)?;
            out.push_sql(" THEN (");
            self.count.walk_ast(out.reborrow())?;
            out.push_sql(") END");
        }
        // One after the other, not one beside the other.
        out.push_sql(" FROM standing FULL JOIN page ON FALSE");
        Ok(())
    }
}

fn union<'b>(parts: &'b [Part<'_>], out: &mut AstPass<'_, 'b, Backend>) -> QueryResult<()> {
    for (place, part) in parts.iter().enumerate() {
        if place > 0 {
            out.push_sql(" UNION ALL ");
        }
        part.walk_ast(out.reborrow())?;
    }
    Ok(())
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

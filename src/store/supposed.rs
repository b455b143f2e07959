//! A search in one statement: the facts, and the page that they are supposed to open.
//!
//! ```text
//! standing   what decides, as `records` asks for it
//! held       how the record stands, by its code: none for who will be refused
//! document   the documents that are seen where it stands so; with none, none is looked for
//! page       what is asked for of these
//! ```
//!
//! The decision comes after it, on the facts, and opens the page where it gives the sight that was supposed (decision 0041).

use std::fmt::Write as _;

use diesel::dsl::{AsSelect, SqlTypeOf, count_star, not};
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
use crate::rights::{RecordFacts, Relation, Scope, Sight, Standing, Supposition};

diesel::table! {
    /// How a record stands, by its code: a part of the statement, no table.
    held (place) {
        place -> Integer,
        record_id -> Text,
    }
}
diesel::allow_tables_to_appear_in_same_query!(held, document);

/// A page as it was supposed: it opens with the decision that gives the same sight of the same record.
#[derive(Debug)]
pub struct SupposedPage {
    record_id: String,
    sight: Sight,
    rows: Vec<FoundRow>,
    total: Option<i64>,
}

impl SupposedPage {
    /// The rows, and the total where it was asked for; `None` where the decision is another than was supposed.
    pub(super) fn opened(self, scope: &Scope) -> Option<(Vec<FoundRow>, Option<i64>)> {
        let as_supposed = self.record_id == scope.record_id() && self.sight == *scope.sight();
        as_supposed.then_some((self.rows, self.total))
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
        // On SQLite a statement is no round trip, and two cost no more than one of so many parts. What a search by `relatesto` may go by is
        // looked up first; so is who is blocked where one might act for many.
        let at_once = self.pays_each_statement() && criteria.replaced.is_empty() && asks_at_once(caller);
        #[cfg(feature = "fault-injection")]
        let at_once = at_once && !crate::faults::second_old_facts();
        let (true, Some(first)) = (at_once, suppositions.first()) else {
            return Ok((self.record_facts(key, caller, now)?, None));
        };
        let asked_for = || narrowed(document::table.into_boxed(), criteria, now);
        let statement = OneStatement {
            standing: Box::new(standing_of(key, caller)),
            caller,
            now,
            suppositions,
            document: Box::new(documents(first.sight(), suppositions, now)),
            page: Box::new(ordered(asked_for(), page).limit(page.most()).select(PageRow::as_select())),
            count: page.is_short().then(|| -> Part<'_> { Box::new(asked_for().select(count_star())) }),
        };
        let rows: Vec<Row> = statement.load(self.connection).map_err(unavailable)?;
        let (place, total) = rows.first().map_or((None, None), |(.., place, _, _, total)| (*place, *total));
        let supposed = place.and_then(|place| {
            suppositions.iter().find(|one| one.standings().iter().any(|standing| standing.code() == place))
        });
        let (mut standing, mut found) = (Vec::new(), Vec::new());
        for (record, authorisation, relation, _, row, names_hidden, _) in rows {
            standing.extend(record.map(|record| (record, authorisation, relation)));
            found.extend(row.map(|row| FoundRow { row, names_hidden: names_hidden == Some(true) }));
        }
        // The page comes in its order, which a statement of so many parts does not promise. What is of one date stays as it came: that order is
        // the database's own, by its collation.
        found.sort_by(|one, other| {
            let order = one.row.date.cmp(&other.row.date);
            if page.ascending { order } else { order.reverse() }
        });
        let facts = facts_of(standing, caller, now);
        debug_assert_eq!(
            supposed.map(Supposition::standings),
            facts.as_ref().and_then(|facts| {
                suppositions.iter().find(|one| one.holds(facts)).map(Supposition::standings)
            }),
            "the statement says of a record what Supposition::holds says"
        );
        let page = facts.as_ref().zip(supposed).map(|(facts, held)| SupposedPage {
            record_id: facts.id.clone(),
            sight: held.sight().clone(),
            rows: found,
            total,
        });
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
    caller: &'a Caller,
    now: i64,
    suppositions: &'a [Supposition],
    document: Part<'a>,
    page: Part<'a>,
    /// How many there are on all pages, where the page is not likely to say it: each part costs, needed or not.
    count: Option<Part<'a>>,
}

/// What is seen of the record that stands as supposed. Where none does, nothing is looked for, whichever way the planner would take.
fn documents<'a>(
    readable: &'a Sight,
    suppositions: &'a [Supposition],
    now: i64,
) -> impl QueryFragment<Backend> + 'a {
    let record = || held::table.select(held::record_id).single_value();
    let of_record = document::table
        .filter(record().is_not_null())
        .filter(document::record_id.nullable().eq(record()))
        .into_boxed();
    seen_by(of_record, readable, conditions(suppositions, now)).select(WholeRow)
}

/// What the sights of these ask: what all do, and what some do where the record stands as for one of them.
fn conditions(suppositions: &[Supposition], now: i64) -> Vec<Condition<'_>> {
    let mut of_each: Vec<(Asked, Vec<&Supposition>)> = Vec::new();
    for supposition in suppositions {
        for asked in asked_by(supposition.sight()) {
            match of_each.iter_mut().find(|(one, _)| *one == asked) {
                Some((_, by)) => by.push(supposition),
                None => of_each.push((asked, vec![supposition])),
            }
        }
    }
    let condition = |(asked, by): (Asked, Vec<&_>)| -> Option<Condition<'_>> {
        let condition = asked.condition(suppositions.first()?.sight(), now);
        if by.len() == suppositions.len() {
            return Some(condition);
        }
        Some(Box::new(not(HeldAmong(codes(by))).or(condition)))
    };
    of_each.into_iter().filter_map(condition).collect()
}

/// The codes of all these, with commas between.
fn codes<'a>(suppositions: impl IntoIterator<Item = &'a Supposition>) -> String {
    let mut codes = String::new();
    for standing in suppositions.into_iter().flat_map(Supposition::standings) {
        let comma = if codes.is_empty() { "" } else { ", " };
        // A String takes whatever is written.
        let _ = write!(codes, "{comma}{}", standing.code());
    }
    codes
}

impl OneStatement<'_> {
    /// [`Supposition::holds`] in SQL: how the record stands, if it stands as supposed.
    fn held<'b>(&'b self, out: &mut AstPass<'_, 'b, Backend>) -> QueryResult<()> {
        let usual = Standing::of(&RecordFacts::usual());
        out.push_sql("SELECT place, id FROM (SELECT id, CASE kind");
        for relation in [Relation::MedecinTraitant, Relation::EqualRights] {
            let kind = relation_code(relation).unwrap_or_default();
            out.push_sql(&format!(" WHEN '{kind}' THEN {}", Standing { relation, ..usual }.code()));
        }
        out.push_sql(&format!(
            " ELSE {} END + CASE WHEN all_masked THEN {} ELSE 0 END \
             + CASE WHEN masked_open_in_emergencies THEN {} ELSE 0 END AS place, until > ",
            usual.code(),
            Standing { all_masked: true, ..usual }.code(),
            Standing { masked_open_in_emergencies: true, ..usual }.code(),
        ));
        out.push_bind_param::<BigInt, _>(&self.now)?;
        out.push_sql(" AND holder IN (");
        out.push_bind_param::<Text, str>(self.caller.id())?;
        out.push_sql(", ");
        out.push_bind_param::<Text, str>(self.caller.structure.as_deref().unwrap_or(self.caller.id()))?;
        out.push_sql(
            ") AS authorised FROM standing WHERE open AND NOT EXISTS (SELECT 1 FROM standing WHERE blocked)",
        );
        out.push_sql(match self.caller.mode {
            AccessMode::Normal => "",
            AccessMode::BrisDeGlace => " AND NOT opposed_to_bris_de_glace",
            AccessMode::Centre15 => " AND NOT opposed_to_centre_15",
        });
        if let Some(only) = self.caller.session.as_ref().and_then(|session| session.record.as_ref()) {
            out.push_sql(" AND ins_system = ");
            out.push_bind_param::<Text, str>(only.system())?;
            out.push_sql(" AND ins_value = ");
            out.push_bind_param::<Text, str>(only.value())?;
        }
        let of = |authorised| codes(self.suppositions.iter().filter(|one| one.authorised() == authorised));
        let (by_authorisation, without) = (of(true), of(false));
        out.push_sql(") AS one WHERE ");
        out.push_sql(&match (&*by_authorisation, &*without) {
            (places, "") => format!("authorised AND place IN ({places})"),
            ("", places) => format!("place IN ({places})"),
            (places, others) => format!("authorised AND place IN ({places}) OR place IN ({others})"),
        });
        out.push_sql(" LIMIT 1");
        Ok(())
    }
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
        self.held(&mut out)?;
        // From here on nothing is called `document` but what the caller sees, whatever is asked of it.
        out.push_sql("), document AS NOT MATERIALIZED (");
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

/// Whether the record stands in one of these ways. Their codes are ours, and written out.
struct HeldAmong(String);

impl Expression for HeldAmong {
    type SqlType = Bool;
}

impl SelectableExpression<document::table> for HeldAmong {}
impl AppearsOnTable<document::table> for HeldAmong {}
impl<GroupBy> ValidGrouping<GroupBy> for HeldAmong {
    type IsAggregate = is_aggregate::Never;
}

impl QueryId for HeldAmong {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Backend> for HeldAmong {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Backend>) -> QueryResult<()> {
        out.push_sql("(SELECT place FROM held) IN (");
        out.push_sql(&self.0);
        out.push_sql(")");
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

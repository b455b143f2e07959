//! Terms by which documents and submission sets are found: kept in statements that are prepared once, however many there are.

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{Array, Text};

use super::criteria::NewTerm;
use super::engine::DatabaseConnection;
use super::schema::search_term;

/// On PostgreSQL in one statement, where each is a round trip.
pub(super) fn insert_terms(connection: &mut DatabaseConnection, terms: &[NewTerm]) -> QueryResult<()> {
    match connection {
        DatabaseConnection::Sqlite(sqlite) => {
            for term in terms {
                diesel::insert_into(search_term::table).values(term).execute(sqlite)?;
            }
        }
        DatabaseConnection::Postgres(_) if terms.is_empty() => {}
        DatabaseConnection::Postgres(postgres) => {
            InsertTerms::of(terms).execute(postgres)?;
        }
    }
    Ok(())
}

struct InsertTerms<'a> {
    owner_ids: Vec<&'a str>,
    kinds: Vec<&'a str>,
    tokens: Vec<&'a str>,
    values: Vec<&'a str>,
}

impl<'a> InsertTerms<'a> {
    fn of(terms: &'a [NewTerm]) -> Self {
        Self {
            owner_ids: terms.iter().map(|term| &*term.owner_id).collect(),
            kinds: terms.iter().map(|term| term.kind).collect(),
            tokens: terms.iter().map(|term| &*term.token).collect(),
            values: terms.iter().map(|term| &*term.value).collect(),
        }
    }
}

impl QueryFragment<Pg> for InsertTerms<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("INSERT INTO search_term (owner_id, kind, token, value) SELECT * FROM unnest(");
        out.push_bind_param::<Array<Text>, _>(&self.owner_ids)?;
        for column in [&self.kinds, &self.tokens, &self.values] {
            out.push_sql(", ");
            out.push_bind_param::<Array<Text>, _>(column)?;
        }
        out.push_sql(")");
        Ok(())
    }
}

impl QueryId for InsertTerms<'_> {
    type QueryId = InsertTerms<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl RunQueryDsl<PgConnection> for InsertTerms<'_> {}

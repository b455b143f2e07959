//! What counts once, and what is counted, across nodes.

use diesel::prelude::*;

use super::Store;
use super::engine::DatabaseConnection;
use super::schema::{budget, spent};
use crate::error::Failure;

impl Store {
    /// Spends an assertion or a token that counts once. `false`: it was spent before, here or on another node. It is
    /// remembered until an instant (seconds since the epoch) from which it would not count anyway.
    ///
    /// # Errors
    /// [`Failure::Unavailable`]: whether it was spent is not known, so it does not count.
    pub async fn spend(&self, token: String, until: i64) -> Result<bool, Failure> {
        self.single_rows(move |connection| {
            let values = (spent::token.eq(token.clone()), spent::until.eq(until));
            // Two nodes at once: the second waits for the first's commit, and then inserts nothing.
            let rows = match connection {
                DatabaseConnection::Sqlite(sqlite) => {
                    diesel::insert_or_ignore_into(spent::table).values(values).execute(sqlite)?
                }
                DatabaseConnection::Postgres(postgres) => diesel::insert_into(spent::table)
                    .values(values)
                    .on_conflict_do_nothing()
                    .execute(postgres)?,
            };
            Ok(rows == 1)
        })
        .await
    }

    /// Counts one more request of a caller in the window that began at `since`, and gives the sum over all nodes.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub async fn count(&self, key: String, since: i64) -> Result<i64, Failure> {
        self.single_rows(move |connection| {
            let values = (budget::key.eq(key.clone()), budget::since.eq(since), budget::spent.eq(1));
            let more = budget::spent.eq(budget::spent + 1);
            match connection {
                DatabaseConnection::Sqlite(sqlite) => diesel::insert_into(budget::table)
                    .values(values)
                    .on_conflict((budget::key, budget::since))
                    .do_update()
                    .set(more)
                    .execute(sqlite)?,
                DatabaseConnection::Postgres(postgres) => diesel::insert_into(budget::table)
                    .values(values)
                    .on_conflict((budget::key, budget::since))
                    .do_update()
                    .set(more)
                    .execute(postgres)?,
            };
            let counted = budget::table.filter(budget::key.eq(&key)).filter(budget::since.eq(since));
            counted.select(budget::spent).first(connection)
        })
        .await
    }

    /// Whether an assertion or a token was spent.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub async fn is_spent(&self, token: String) -> Result<bool, Failure> {
        self.read(move |reader| {
            let found =
                spent::table.filter(spent::token.eq(token)).count().get_result::<i64>(reader.connection);
            found.map(|rows| rows > 0).map_err(super::unavailable)
        })
        .await
    }

    async fn single_rows<T, F>(&self, mut work: F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: FnMut(&mut DatabaseConnection) -> QueryResult<T> + Send + 'static,
    {
        match &self.single_rows {
            Some(pool) => pool.run(move |reader| work(reader.connection).map_err(super::unavailable)).await,
            None => self.writer.untraced_on_reserve(work).await,
        }
    }

    /// Forgets what would not count anyway, and windows that are over. Instants in seconds since the epoch.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub async fn forget_spent(&self, now: i64) -> Result<usize, Failure> {
        /// Nodes' clocks may be apart, and a window is a minute.
        const MARGIN: i64 = 600;
        let before = now - MARGIN;
        self.single_rows(move |connection| {
            diesel::delete(budget::table.filter(budget::since.lt(before))).execute(connection)?;
            diesel::delete(spent::table.filter(spent::until.lt(before))).execute(connection)
        })
        .await
    }
}

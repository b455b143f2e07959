//! Counts for the SI-Pilotage: how much is fed, masked, deleted and read. No identifier among them.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};

use super::engine::DatabaseConnection;

/// How many of a kind.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct Counted {
    /// Type of document (JDV_J66), or kind of caller.
    #[diesel(sql_type = Text)]
    pub of: String,
    /// Year of birth of the patient, four digits, or mode of access; empty where it is not known.
    #[diesel(sql_type = Text)]
    pub group: String,
    /// Hour of the day, UTC, 0 to 23.
    #[diesel(sql_type = BigInt)]
    pub hour: i64,
    /// How the author's identifier begins: which kind of source it is.
    #[diesel(sql_type = Text)]
    pub source: String,
    /// How many.
    #[diesel(sql_type = BigInt)]
    pub count: i64,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Indicator {
    /// Documents that were fed in the period.
    Fed,
    /// Documents of those that are masked now.
    Masked,
    /// Documents that were deleted in the period.
    Deleted,
    /// Searches and reads in the period, by kind of caller and mode.
    Accesses,
}

impl Indicator {
    /// Every one.
    pub const ALL: [Indicator; 4] =
        [Indicator::Fed, Indicator::Masked, Indicator::Deleted, Indicator::Accesses];

    /// Its name, French.
    pub const fn name(self) -> &'static str {
        match self {
            Indicator::Fed => "documents alimentés",
            Indicator::Masked => "documents masqués",
            Indicator::Deleted => "documents supprimés",
            Indicator::Accesses => "accès",
        }
    }

    /// Counts, from one instant to before another, microseconds.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn count(
        self,
        connection: &mut DatabaseConnection,
        from: i64,
        until: i64,
    ) -> QueryResult<Vec<Counted>> {
        // Numbers of our own stand in the text: the engines mark places differently.
        let documents = |instant: &str, condition: &str| {
            format!(
                "SELECT d.type_code AS of, substr(r.birth_date, 1, 4) AS \"group\", d.{instant} / 3600000000 % 24 AS hour, \
                 CASE WHEN d.author_id IN ('patient', 'DMP') THEN d.author_id ELSE substr(d.author_id, 1, 1) END AS source, \
                 count(*) AS count FROM document d JOIN record r ON r.id = d.record_id \
                 WHERE d.{instant} >= {from} AND d.{instant} < {until} AND {condition} GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4"
            )
        };
        let query = match self {
            Indicator::Fed => documents("created_at", "1 = 1"),
            Indicator::Masked => documents("created_at", "d.masked AND d.status <> 'entered-in-error'"),
            Indicator::Deleted => documents("updated_at", "d.status = 'entered-in-error'"),
            Indicator::Accesses => format!(
                "SELECT caller_kind AS of, mode AS \"group\", at / 3600000000 % 24 AS hour, '' AS source, count(*) AS count FROM trace \
                 WHERE at >= {from} AND at < {until} AND outcome = 'granted' \
                 AND (operation LIKE 'TD3.1 %' OR operation LIKE 'TD3.2 %') GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
            ),
        };
        diesel::sql_query(query).load(connection)
    }
}

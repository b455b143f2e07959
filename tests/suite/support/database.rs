//! A database of one's own for each test.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection};
use habilis::store::{DatabaseConnection, DatabaseUrl};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

pub struct Database {
    pub url: String,
    drop: Option<(String, String)>,
}

impl Database {
    pub fn new(engine: Engine, folder: &Path) -> Self {
        match engine {
            Engine::Sqlite => {
                Self { url: format!("sqlite:{}", folder.join("habilis.db").display()), drop: None }
            }
            Engine::Postgres => {
                static NEXT: AtomicU32 = AtomicU32::new(0);
                let admin = std::env::var("HABILIS_TEST_POSTGRES")
                    .expect("HABILIS_TEST_POSTGRES is not set: run the tests with ./scripts/test");
                let name = format!("test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
                let mut connection = PgConnection::establish(&admin).expect("the tests' PostgreSQL answers");
                connection.batch_execute(&format!("CREATE DATABASE {name}")).unwrap();
                let (server, _) = admin.rsplit_once('/').unwrap();
                Self { url: format!("{server}/{name}"), drop: Some((admin, name)) }
            }
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Some((admin, name)) = &self.drop
            && let Ok(mut connection) = PgConnection::establish(admin)
        {
            let _ = connection.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
        }
    }
}

/// The number of rows of a table.
pub fn rows_of(url: &str, table: &str) -> i64 {
    use diesel::RunQueryDsl;
    #[derive(diesel::QueryableByName)]
    struct Count {
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        rows: i64,
    }
    let url = DatabaseUrl::parse(url).unwrap();
    let mut connection = DatabaseConnection::open_for_reading(&url).unwrap();
    let query = diesel::sql_query(format!("SELECT count(*) AS rows FROM {table}"));
    query.get_result::<Count>(&mut connection).unwrap().rows
}

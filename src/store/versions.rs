//! What a document was before each change of its metadata (FHIR's `_history`).

use diesel::prelude::*;

use super::documents::OpenedDocument;
use super::engine::DatabaseConnection;
use super::readers::Reader;
use super::schema::{document, document_version};
use super::unavailable;
use crate::error::Failure;
use crate::rights::{DocumentFacts, DocumentStatus, Labels, ReadGrant};

/// Versions that are looked at, the newest: a history is one answer.
const MOST: i64 = 50;

/// A document as it was. Its facts serve a decision; the rest opens with the grant.
#[derive(Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = document_version, treat_none_as_default_value = false)]
pub struct PastVersion {
    document_id: String,
    version: i64,
    status: String,
    masked: bool,
    invisible_to_patient: bool,
    invisible_to_representatives: bool,
    archived: bool,
    link: i32,
    resource: String,
}

impl PastVersion {
    /// What the document was to a decision: the labels, the status and the archive of then, and all else of now.
    pub fn facts(&self, now: &DocumentFacts) -> DocumentFacts {
        DocumentFacts {
            // A status that this program does not know is not shown.
            status: DocumentStatus::of_code(&self.status).unwrap_or(DocumentStatus::EnteredInError),
            labels: Labels {
                masked: self.masked,
                invisible_to_patient: self.invisible_to_patient,
                invisible_to_representatives: self.invisible_to_representatives,
            },
            archived: self.archived,
            version: self.version,
            ..now.clone()
        }
    }

    /// Opens it with the grant that a decision on its facts made; `None` when the grant is for another document.
    pub fn open(self, grant: &ReadGrant, current: &OpenedDocument) -> Option<OpenedDocument> {
        (grant.document_id() == self.document_id)
            .then(|| current.as_it_was(self.resource, usize::try_from(self.link).ok(), self.version))
    }
}

/// Keeps what a document is, before it is changed.
pub(super) fn keep(connection: &mut DatabaseConnection, id: &str) -> QueryResult<()> {
    let past: PastVersion = document::table
        .filter(document::id.eq(id))
        .select((
            document::id,
            document::version,
            document::status,
            document::masked,
            document::invisible_to_patient,
            document::invisible_to_representatives,
            document::archived,
            document::link,
            document::resource,
        ))
        .first(connection)?;
    diesel::insert_into(document_version::table).values(&past).execute(connection)?;
    Ok(())
}

impl Reader<'_> {
    /// What a document was, the newest first; of one version alone where it is named.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn past_versions(&mut self, id: &str, only: Option<i64>) -> Result<Vec<PastVersion>, Failure> {
        let mut query = document_version::table
            .filter(document_version::document_id.eq(id))
            .order(document_version::version.desc())
            .limit(MOST)
            .select(PastVersion::as_select())
            .into_boxed();
        if let Some(version) = only {
            query = query.filter(document_version::version.eq(version));
        }
        query.load(self.connection).map_err(unavailable)
    }
}

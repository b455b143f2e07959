-- What the patient made of professionals, what may be told of a patient, and the life of a document.

ALTER TABLE record ADD COLUMN gender TEXT NOT NULL DEFAULT 'unknown';
-- The birth name as it is compared: capitals without accents. The program fills it where it is empty.
ALTER TABLE record ADD COLUMN family_key TEXT NOT NULL DEFAULT '';
-- FHIR elements of Patient: telecom, address, contact. A JSON object.
ALTER TABLE record ADD COLUMN administrative TEXT NOT NULL DEFAULT '{}';
-- The patient masks every document, those to come included.
ALTER TABLE record ADD COLUMN all_masked INTEGER NOT NULL DEFAULT 0;
-- What the patient wants to be told, and how. A JSON object.
ALTER TABLE record ADD COLUMN notifications TEXT NOT NULL DEFAULT '{}';
ALTER TABLE record ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
ALTER TABLE record ADD COLUMN erased_at INTEGER;
CREATE INDEX record_family_key ON record (family_key);
CREATE INDEX record_birth_date ON record (birth_date);

-- person, structure or care_team: on what an authorisation rests (R1111-46).
ALTER TABLE authorisation ADD COLUMN basis TEXT NOT NULL DEFAULT 'person';
ALTER TABLE authorisation ADD COLUMN name TEXT;
ALTER TABLE authorisation ADD COLUMN profession TEXT;
ALTER TABLE authorisation ADD COLUMN declared_by TEXT NOT NULL DEFAULT '';
-- Declared in a secret connection: not told to the representatives (R1111-50).
ALTER TABLE authorisation ADD COLUMN secret INTEGER NOT NULL DEFAULT 0;
CREATE INDEX authorisation_holder ON authorisation (holder, since);
CREATE INDEX authorisation_consent ON authorisation (consent_id);

-- medecin_traitant or equal_rights (R1111-54).
ALTER TABLE medecin_traitant ADD COLUMN kind TEXT NOT NULL DEFAULT 'medecin_traitant';
ALTER TABLE medecin_traitant ADD COLUMN consent_id TEXT NOT NULL DEFAULT '';
ALTER TABLE medecin_traitant ADD COLUMN name TEXT;
CREATE INDEX medecin_traitant_professional ON medecin_traitant (professional_id);
UPDATE medecin_traitant SET consent_id = record_id || '-' || professional_id;

-- `masked` counts for rights: the label of the document, or that of the version that replaced it.
-- The document that it replaced.
ALTER TABLE document ADD COLUMN replaces_id TEXT;
-- When INVISIBLE_PATIENT ends by itself (R1111-53).
ALTER TABLE document ADD COLUMN visible_from INTEGER;
UPDATE document SET visible_from = created_at + 2592000000000 WHERE invisible_to_patient;
ALTER TABLE document ADD COLUMN updated_at INTEGER NOT NULL DEFAULT 0;
UPDATE document SET updated_at = created_at;
-- By reference first: a document may name both, and they need not agree.
UPDATE document SET replaces_id = COALESCE(
    (SELECT older.id FROM document AS older
     WHERE older.record_id = document.record_id
       AND 'DocumentReference/' || older.id = json_extract(document.resource, '$.relatesTo[0].target.reference')),
    (SELECT older.id FROM document AS older
     WHERE older.record_id = document.record_id
       AND older.unique_id = json_extract(document.resource, '$.relatesTo[0].target.identifier.value'))
) WHERE json_extract(resource, '$.relatesTo[0].code') = 'replaces';
-- What the current version hides, those that it replaced do not show.
WITH RECURSIVE covered (id) AS (
    SELECT replaces_id FROM document WHERE masked AND replaces_id IS NOT NULL
    UNION
    SELECT document.replaces_id FROM document JOIN covered ON document.id = covered.id
    WHERE document.replaces_id IS NOT NULL
)
UPDATE document SET masked = 1 WHERE id IN (SELECT id FROM covered);
CREATE INDEX document_replaces ON document (replaces_id) WHERE replaces_id IS NOT NULL;

-- What the patient's side reads of its own record.
CREATE INDEX trace_record ON trace (record_id, sequence) WHERE record_id IS NOT NULL;

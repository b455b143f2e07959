//! The SI Mon espace santé, as it speaks for patients.

use serde_json::{Value, json};

use super::{Answer, Client, TEST, World};

/// The patient's side of a server.
pub struct PatientSide {
    client: Client,
}

/// A record as the patient's side reads it.
pub struct Record {
    pub id: String,
    pub version: i64,
    pub json: Value,
}

impl PatientSide {
    pub fn of(world: &World) -> Self {
        Self::over(world.client("org-mes"))
    }

    /// Over a connection of one's own.
    pub fn over(client: Client) -> Self {
        Self { client }
    }

    pub fn url(&self, path: &str) -> String {
        self.client.at_root(&format!("/mes/v1/dossiers{path}"))
    }

    /// A call with a version in `If-Match`.
    pub fn send(&self, method: &str, path: &str, version: Option<i64>, body: Option<Value>) -> Answer {
        let version = version.map(|version| format!("W/\"{version}\""));
        let mut headers = vec![("Content-Type", "application/json")];
        headers.extend(version.as_deref().map(|version| ("If-Match", version)));
        self.client.send(method, &self.url(path), &headers, body.map(|body| body.to_string())).unwrap()
    }

    /// Finds a record by INS.
    #[track_caller]
    pub fn record(&self, ins: &str) -> Record {
        let answer = self.send("POST", "/recherche", None, Some(ins_body(ins, "titulaire")));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let json = answer.json();
        let id = json["id"].as_str().unwrap().to_owned();
        Record { id, version: json["version"].as_i64().unwrap(), json }
    }

    /// As a reader has it: the holders of whatever the patient or the professionals said.
    #[track_caller]
    pub fn professionals(&self, ins: &str, reader: &str) -> Vec<String> {
        let answer = done(self.send("POST", "/recherche", None, Some(ins_body(ins, reader))));
        let professionals = answer.json()["professionnels"].as_array().unwrap().clone();
        professionals.iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
    }

    /// A change of the record, at the version in which it stands.
    #[track_caller]
    pub fn change(&self, ins: &str, change: Value) -> Answer {
        let record = self.record(ins);
        done(self.send("PATCH", &format!("/{}", record.id), Some(record.version), Some(change)))
    }

    /// What a professional is to the patient.
    #[track_caller]
    pub fn set(&self, ins: &str, professional: &str, status: &str) -> Answer {
        let record = self.record(ins);
        let path = format!("/{}/professionnels/{professional}", record.id);
        done(self.send("PUT", &path, Some(record.version), Some(json!({ "statut": status }))))
    }

    /// Takes back what a professional is.
    #[track_caller]
    pub fn forget(&self, ins: &str, professional: &str) -> Answer {
        let record = self.record(ins);
        let path = format!("/{}/professionnels/{professional}?lecteur=titulaire", record.id);
        done(self.send("DELETE", &path, Some(record.version), None))
    }

    /// A change of a document.
    #[track_caller]
    pub fn change_document(&self, ins: &str, document: &str, change: Value) -> Answer {
        let record = self.record(ins);
        let path = format!("/{}/documents/{document}?lecteur=titulaire", record.id);
        self.send("PATCH", &path, Some(record.version), Some(change))
    }

    /// The ids of the documents that a reader sees.
    #[track_caller]
    pub fn documents(&self, ins: &str, reader: &str) -> Vec<String> {
        let path = format!("/{}/documents?lecteur={reader}", self.record(ins).id);
        let answer = done(self.send("GET", &path, None, None)).json();
        answer["documents"]
            .as_array()
            .unwrap()
            .iter()
            .map(|document| document["id"].as_str().unwrap().to_owned())
            .collect()
    }

    /// The accesses that a reader sees: the operations, newest first.
    #[track_caller]
    pub fn accesses(&self, ins: &str, reader: &str) -> Vec<Value> {
        let path = format!("/{}/traces?lecteur={reader}", self.record(ins).id);
        done(self.send("GET", &path, None, None)).json()["traces"].as_array().unwrap().clone()
    }
}

/// The body that names a record by INS.
pub fn ins_body(ins: &str, reader: &str) -> Value {
    json!({ "ins": { "systeme": TEST, "valeur": ins }, "lecteur": reader })
}

#[track_caller]
fn done(answer: Answer) -> Answer {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
}

"""Plays the homologation kit of a sandbox (docs/homologation.md), with requests: opens a run, plays rows, prints what the kit says of them.

    cargo run --release -- sandbox                                                    # in one terminal
    pip install requests 'pyjwt[crypto]' && python3 examples/python/homologation.py   # in another

HABILIS_BASE, HABILIS_CERTS and HABILIS_PORTAL say where the server is, where cards lie, and where the portal is.
The rows are played by homologation_rights.py (TD0, TD1), homologation_feeds.py (TD2) and homologation_reads.py (TD3).
"""

import os
import sys

import requests

import homologation_feeds
import homologation_reads
import homologation_rights
from day import BASE, INS_SYSTEM, answer, consent
from homologation_documents import Document
from homologation_metadata import alone, resources, transaction, visibility
from homologation_sessions import STRUCTURES, Person, assertion, by_card, by_establishment

PORTAL = os.environ.get("HABILIS_PORTAL", "http://127.0.0.1:8080")
FHIR = {"Content-Type": "application/fhir+json"}


class Run:
    """A run of the kit: its cards, its patients, and the calls that play a row."""

    def __init__(self):
        asked = {"name": "Exemple", "software": "homologation.py 1.0", "profile": "Alimentation, consultation"}
        self.opened = answer(requests.post(f"{PORTAL}/homologation", data=asked, headers={"Accept": "application/json"}), 201)
        self.id, self.patients = self.opened["id"], self.opened["patients"]
        names = ("cps-medecin", "cps-medecin-b", "cps-pharmacien", "cps-kine")
        self.authors = {name: [professional] for name, professional in zip(names, self.opened["professionals"])}
        # What a secretary feeds is her structure's, which is an author beside her.
        self.authors["cpe-secretaire"] = [f"3750000101/{self.id}E", "1750000101"]
        self.doctor, self.other, self.secretary = map(self.card, ("cps-medecin", "cps-medecin-b", "cpe-secretaire"))
        self.unexpected, self.lacking = [], []

    def file(self, name):
        """A card's files begin with the run's number."""
        return f"{self.id.lower()}-{name}"

    def has(self, name):
        return self.file(name) in self.opened["cards"]

    def card(self, name, **session):
        return by_card(self.file(name), self.authors.get(name, []), **session)

    def named(self, mode="INDIRECTE", person=None, name="org", **said):
        """An establishment's software, for the first doctor unless it is for another person."""
        return by_establishment(self.file(name), person or self.first_doctor(), STRUCTURES[name], mode, **said)

    def assertion(self, mode, person, name="org"):
        return assertion(self.file(name), person, STRUCTURES[name], mode)

    def first_doctor(self):
        return Person(self.doctor.authors[0], "PAULE PREMIER")

    def patient(self, role, system=INS_SYSTEM):
        return f"{system}|{self.patients[role]['ins']}"

    def play(self, code, method, path, expected=200, by=None, **more):
        """One call of a row (None: it counts for every row that it plays), and the status that it should have (None: whatever it is)."""
        headers = more.pop("headers", {}) | ({"X-Habilis-Case": code} if code else {})
        url = path if path.startswith("https:") else f"{BASE}{path}"
        response = (by or self.doctor).connection.request(method, url, headers=headers, **more)
        if expected not in (response.status_code, None):
            self.unexpected.append(f"{code}: {method} {path}: {response.status_code} instead of {expected}: {response.text[:300]}")
        is_json = "json" in response.headers.get("Content-Type", "")
        return response.json() if is_json and response.content else response

    def exists(self, code, role, by=None, system=INS_SYSTEM):
        return self.play(code, "GET", "/Patient", by=by, params={"identifier": self.patient(role, system)})

    def people(self, code, by=None, **traits):
        return self.play(code, "GET", "/Patient", by=by, params=traits)

    def declare(self, code, role, by=None):
        return self.play(code, "POST", "/Consent", 201, by=by, json=consent(self.patients[role]["ins"]), headers=FHIR)

    def find(self, code, role, expected=200, by=None, **more):
        params = {"patient.identifier": self.patient(role), "status": "current", **more}
        return self.play(code, "GET", "/DocumentReference", expected, by=by, params=params)

    def look_up(self, code, role, document, by=None):
        """The reference of one's own document, without any right to read (TD3.1b)."""
        params = {"patient.identifier": self.patient(role), "identifier": f"urn:ietf:rfc:3986|urn:oid:{document.unique_id}"}
        return resources(self.play(code, "GET", "/DocumentReference", by=by, params=params))[0]

    def read(self, code, resource, expected=200, by=None, accept="*/*"):
        url = resource["content"][0]["attachment"]["url"]
        return self.play(code, "GET", url, expected, by=by, headers={"Accept": accept})

    def document(self, role, by=None, **said):
        return Document(**{"ins": self.patients[role]["ins"], "authors": (by or self.doctor).authors} | said)

    def feed(self, code, role, expected=201, by=None, older=None, **said):
        """ITI-105; what was fed. `older`: the document that it replaces."""
        document = self.document(role, by, replaces=older and older.unique_id, **said)
        fed = self.play(code, "POST", "/DocumentReference", expected, by=by, json=alone(document), headers=FHIR)
        document.id = fed["id"]
        return document

    def submit(self, code, documents, by=None, older=()):
        """ITI-65: documents at once; those that they replace (`older`) are set to superseded."""
        bundle = transaction(documents, (by or self.doctor).authors[0], [one.id for one in older])
        return self.play(code, "POST", "", by=by, json=bundle, headers=FHIR)

    def change(self, code, document, operation, expected=200, by=None):
        """A PATCH of a document by its unique id: of one that was fed, or of a DocumentReference that was found."""
        unique_id = document["masterIdentifier"]["value"] if isinstance(document, dict) else f"urn:oid:{document.unique_id}"
        headers = {"Content-Type": "application/json-patch+json"}
        params = {"identifier": f"urn:ietf:rfc:3986|{unique_id}"}
        return self.play(code, "PATCH", "/DocumentReference", expected, by=by, params=params, json=[operation], headers=headers)

    def delete(self, code, document, expected=200, by=None):
        return self.change(code, document, {"op": "replace", "path": "/status", "value": "entered-in-error"}, expected, by)

    def label(self, code, document, *labels, expected=200, by=None):
        value = [visibility(label) for label in labels]
        return self.change(code, document, {"op": "replace", "path": "/securityLabel", "value": value}, expected, by)

    def patient_acts(self, role, act):
        answer(requests.post(f"{PORTAL}/homologation/{self.id}/patients/{role}/{act}", headers={"Accept": "application/json"}), 204)

    def lacks(self, why, *codes):
        self.lacking += [f"{code}: {why}" for code in codes]

    def report(self):
        return answer(requests.get(f"{PORTAL}/homologation/{self.id}/rapport.json"))


def main():
    run = Run()
    homologation_rights.play(run)
    homologation_feeds.play(run)
    homologation_reads.play(run)
    # Lists tell of the documents that were fed; what spends the doctor's budget comes last.
    homologation_rights.lists(run)
    homologation_rights.spend_the_budget(run)
    report = run.report()
    for one in run.lacking:
        print("not played:", one)
    for one in run.unexpected:
        print("unexpected:", one)
    for row in report["rows"]:
        if row["verdict"] == "failed":
            print("failed:", row["code"], row["finding"], row["element"], row["rule"])
    print(f"run {report['run']}: {report['passed']} passed, {report['failed']} failed, {report['notPlayed']} not played")
    sys.exit(bool(report["failed"] or run.unexpected))


if __name__ == "__main__":
    main()

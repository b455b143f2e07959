"""Plays the homologation kit of a sandbox (docs/homologation.md), with requests: opens a run, plays rows, prints what the kit says of them.

    cargo run --release -- sandbox                                    # in one terminal
    pip install requests && python3 examples/python/homologation.py   # in another

HABILIS_BASE, HABILIS_CERTS and HABILIS_PORTAL say where the server is, where cards lie, and where the portal is.
"""

import os
import sys
import uuid

import requests

from day import BASE, INS_SYSTEM, answer, card, coded, consent, document

PORTAL = os.environ.get("HABILIS_PORTAL", "http://127.0.0.1:8080")


class Run:
    """A run of the kit: its cards, its patients, and the calls that play a row."""

    def __init__(self):
        asked = {"name": "Exemple", "software": "homologation.py 1.0", "profile": "Alimentation, consultation"}
        self.run = answer(requests.post(f"{PORTAL}/homologation", data=asked, headers={"Accept": "application/json"}), 201)
        self.cards = {name: card(f"{self.run['id'].lower()}-{name}") for name in
                      ("cps-medecin", "cps-medecin-b", "cps-pharmacien", "cps-kine", "cpe-secretaire")}
        self.doctor, self.other = self.cards["cps-medecin"], self.cards["cps-medecin-b"]
        self.unexpected = []

    def ins(self, role):
        return self.run["patients"][role]["ins"]

    def play(self, code, method, path, expected=200, by=None, token=None, **more):
        """One call of a row; None: of none in particular."""
        headers = more.pop("headers", {}) | ({"X-Habilis-Case": code} if code else {})
        if token:
            headers["Authorization"] = f"Bearer {token}"
        url = path if path.startswith("https:") else f"{BASE}{path}"
        response = (by or self.doctor).request(method, url, headers=headers, **more)
        if response.status_code != expected:
            self.unexpected.append(f"{code}: {method} {path}: {response.status_code} instead of {expected}: {response.text[:300]}")
        is_json = "json" in response.headers.get("Content-Type", "")
        return response.json() if is_json and response.content else response

    def exists(self, code, role, by=None, system=INS_SYSTEM):
        return self.play(code, "GET", "/Patient", by=by, params={"identifier": f"{system}|{self.ins(role)}"})

    def find(self, code, role, expected=200, by=None, token=None, **more):
        params = {"patient.identifier": f"{INS_SYSTEM}|{self.ins(role)}", "status": "current", **more}
        return self.play(code, "GET", "/DocumentReference", expected, by=by, token=token, params=params)

    def declare(self, code, role, by=None):
        return self.play(code, "POST", "/Consent", 201, by=by, json=consent(self.ins(role)), headers=FHIR)

    def feed(self, code, role, type_code="11488-4", labels=(), replaces=None, expected=201, by=None, author=None):
        """ITI-105; the unique id of what was fed."""
        unique_id = f"2.25.{uuid.uuid4().int}"
        author = author or self.run["professionals"][0 if by in (None, self.doctor) else 1]
        resource, _ = document(unique_id, "Examen sans particularité.", author, self.ins(role), type_code, labels)
        if replaces:
            target = {"identifier": {"system": "urn:ietf:rfc:3986", "value": f"urn:oid:{replaces}"}}
            resource["relatesTo"] = [{"code": "replaces", "target": target}]
        self.play(code, "POST", "/DocumentReference", expected, by=by, json=resource, headers=FHIR)
        return unique_id

    def change(self, code, unique_id, operation, expected=200, by=None):
        params = {"identifier": f"urn:ietf:rfc:3986|urn:oid:{unique_id}"}
        headers = {"Content-Type": "application/json-patch+json"}
        return self.play(code, "PATCH", "/DocumentReference", expected, by=by, params=params, json=[operation], headers=headers)

    def patient_acts(self, role, act):
        answer(requests.post(f"{PORTAL}/homologation/{self.run['id']}/patients/{role}/{act}", headers={"Accept": "application/json"}), 204)


FHIR = {"Content-Type": "application/fhir+json"}
DELETE = {"op": "replace", "path": "/status", "value": "entered-in-error"}
MASKED, HIDDEN, FROM_PARENTS = "MASQUE_PS", "INVISIBLE_PATIENT", "INVISIBLE_REPRESENTANTS_LEGAUX"


def labels(*codes):
    return {"op": "replace", "path": "/securityLabel", "value": [coded("TRE_A07-StatutVisibiliteDocument", code) for code in codes]}


def existence(run):
    for code in ("0.1-060#1", "0.2-010"):
        run.exists(code, "inexistant")
    for code in ("0.1-060#2", "0.2-030"):
        run.exists(code, "ouvert")
    run.exists("0.2-060", "expire")
    found = run.exists("0.2-040", "autorise")
    run.play("1.3a-010", "GET", f"/Patient/{found['entry'][0]['resource']['id']}")
    run.exists("0.2-080", "inexistant", system="urn:oid:1.2.250.1.213.1.4.9")


def authorisations(run):
    run.declare("0.3-010", "ouvert")
    run.exists("0.3-010", "ouvert")
    run.declare("0.3-100", "ouvert", by=run.cards["cpe-secretaire"])
    run.declare("TNR-03#1", "ouvert")
    run.find("TNR-03#1", "ouvert", type="CERT_DECL")
    for code, name in (("0.1-140", "cps-pharmacien"), ("0.1-150", "cps-kine")):
        run.declare(None, "autorise", by=run.cards[name])
        run.find(code, "autorise", by=run.cards[name])
    me = f"urn:oid:1.2.250.1.71.4.2.1|{run.run['professionals'][0]}"
    run.play("0.4-010", "GET", "/Consent", params={"actor:identifier": me, "status": "active", "date": "ge2011-03-01"})
    patient = f"{INS_SYSTEM}|{run.ins('complet')}"
    run.play("1.6-010", "GET", "/Consent", params={"patient.identifier": patient})
    run.play("1.6-030", "GET", "/Consent", params={"patient.identifier": patient, "status": "active"})


def feeding(run):
    secretary, structure = run.cards["cpe-secretaire"], f"3750000101/{run.run['id']}E"
    for code in ("0.1-120", "2.2-010"):
        run.feed(code, "ouvert", "11490-0", by=secretary, author=structure)
    run.feed("0.1-110", "ouvert")
    run.feed("2.1-050", "ouvert", "34874-8", ["N", MASKED])
    run.feed("2.1-060", "ouvert", "34112-3", ["N", HIDDEN])
    for code in ("TNR-01#6", "2.1-600"):
        run.feed(code, "mineur", labels=["N", FROM_PARENTS])
    run.feed("0.1-300#5c", "mineur", labels=["N"])
    first = run.feed(None, "ouvert", labels=["N", HIDDEN])
    second = run.feed("2.1-140#1", "ouvert", labels=["N", HIDDEN], replaces=first)
    deleted = run.feed(None, "ouvert")
    run.play("TNR-01#3", "GET", "/DocumentReference", params={
        "patient.identifier": f"{INS_SYSTEM}|{run.ins('ouvert')}", "identifier": f"urn:ietf:rfc:3986|urn:oid:{deleted}"})
    run.change("TNR-01#3", deleted, DELETE)
    return second


def opposition(run):
    kept = [run.feed(None, "oppose") for _ in range(2)]
    by_structure = {"by": run.cards["cpe-secretaire"], "author": f"3750000101/{run.run['id']}E"}
    of_structure = run.feed(None, "oppose", **by_structure)
    run.patient_acts("oppose", "opposer")
    run.feed("2.1-970#3", "oppose", expected=403)
    run.feed("2.2-980#3", "oppose", expected=403, **by_structure)
    run.change("2.1-970#5", kept[1], DELETE)
    run.change("2.2-980#5", of_structure, DELETE, by=run.cards["cpe-secretaire"])


def searches(run):
    for code, more in (
        ("3.1-005", {}), ("3.1-090", {"type": "11506-3"}), ("3.1-100", {"type": "11506-3,15507-7"}),
        ("3.1-040", {"type": "34112-3", "isArchived": "true,false"}), ("3.1-110", {"period-start": "ge2010"}),
        ("3.1-130", {"period-start": "ge2010", "period-end": "le2027-03-20"}),
    ):
        run.find(code, "complet", **more)
    run.play("3.1-400", "GET", "/List", params={
        "patient.identifier": f"{INS_SYSTEM}|{run.ins('complet')}", "code": "submissionset", "status": "current",
        "date": "ge2025-05-26T09:00:00Z", "_include": "List:item"})
    scope = {"grant_type": "client_credentials", "scope": "ITI-67 ITI-68"}
    patient = f"{INS_SYSTEM}|{run.ins('urgence')}"
    token = answer(run.doctor.post(BASE.removesuffix("/fhir") + "/oauth2/token", data=scope | {
        "purpose_of_use": "bris_de_glace", "motif": "patient inconscient", "patient": patient}))["access_token"]
    run.find("3.1-150", "urgence", token=token)


def reads(run):
    found = run.find(None, "complet", isArchived="true,false", _count="50")
    for resource in (entry["resource"] for entry in found["entry"]):
        attachment, kind = resource["content"][0]["attachment"], resource["type"]["coding"][0]["code"]
        code = {("18748-4", "image/tiff"): "3.2-010", ("70004-7", "text/plain"): "3.2-020"}.get((kind, attachment["contentType"]))
        if attachment["contentType"] == "text/rtf":
            run.find("3.2-030", "complet", isArchived="true")
            code = "3.2-030"
        run.play(code, "GET", attachment["url"], headers={"Accept": "*/*"})
    masked = run.find(None, "traite")["entry"][0]["resource"]
    run.play("3.2-150", "GET", masked["content"][0]["attachment"]["url"], headers={"Accept": "*/*"})
    return masked["masterIdentifier"]["value"].removeprefix("urn:oid:"), found


def changes(run, masked, found):
    run.change("3.3-050", masked, labels("N"))
    by_type = {}
    for resource in (entry["resource"] for entry in found["entry"]):
        by_type.setdefault(resource["type"]["coding"][0]["code"], resource["masterIdentifier"]["value"].removeprefix("urn:oid:"))
    run.change("3.3-060", by_type["70004-7"], labels("N"))
    run.change("3.3-160", by_type["15507-7"], labels("N", MASKED))
    for code, kind in (("3.3-070", "11506-3"), ("3.3-540", "11505-5")):
        own = run.feed(None, "autorise", kind)
        if code == "3.3-540":
            run.play(code, "GET", "/DocumentReference", params={
                "patient.identifier": f"{INS_SYSTEM}|{run.ins('autorise')}", "identifier": f"urn:ietf:rfc:3986|urn:oid:{own}"})
        run.change(code, own, DELETE)
    own = run.feed(None, "autorise", "11502-2")
    archive = {"op": "add", "path": "/extension/-", "value": {"url": ARCHIVED, "valueBoolean": True}}
    run.change("3.3-120", own, archive)


ARCHIVED = "https://interop.esante.gouv.fr/ig/fhir/pdsm/StructureDefinition/pdsm-ext-is-archived"


def main():
    run = Run()
    existence(run)
    authorisations(run)
    feeding(run)
    opposition(run)
    searches(run)
    masked, found = reads(run)
    changes(run, masked, found)
    report = answer(requests.get(f"{PORTAL}/homologation/{run.run['id']}/rapport.json"))
    for one in run.unexpected:
        print("unexpected:", one)
    for row in report["rows"]:
        if row["verdict"] == "failed":
            print("failed:", row["code"], row["finding"], row["element"], row["rule"])
    print(f"run {report['run']}: {report['passed']} passed, {report['failed']} failed, {report['notPlayed']} not played")
    sys.exit(bool(report["failed"] or run.unexpected))


if __name__ == "__main__":
    main()

"""A practice software's day against Habilis, with requests: feed, find, read, mask, emergency.

    cargo run --release -- sandbox                 # in one terminal
    pip install requests && python3 examples/python/day.py   # in another

HABILIS_BASE and HABILIS_CERTS say where the server is and where its cards lie.
"""

import base64
import hashlib
import os
import sys
import uuid

import requests

BASE = os.environ.get("HABILIS_BASE", "https://localhost:8443/fhir")
CERTS = os.environ.get("HABILIS_CERTS", "certs/sandbox")
INS_SYSTEM, INS = "urn:oid:1.2.250.1.213.1.4.10", "185067599900166"
NOS = "https://mos.esante.gouv.fr/NOS"


def card(name):
    """A session over mutual TLS with the card of that name."""
    session = requests.Session()
    # Or else REQUESTS_CA_BUNDLE of the environment would count before `verify`.
    session.trust_env = False
    session.verify = f"{CERTS}/ca.pem"
    session.cert = (f"{CERTS}/{name}.pem", f"{CERTS}/{name}.key")
    session.headers["Accept"] = "application/fhir+json"
    return session


def answer(response, expected=200):
    """The JSON of an answer. A refusal is an OperationOutcome: show what it says to the integrator."""
    if response.status_code != expected:
        sys.exit(f"{response.request.method} {response.url}: {response.status_code} {response.text}")
    return response.json() if response.content else None


def post(session, path, resource, expected=201):
    headers = {"Content-Type": "application/fhir+json"}
    return answer(session.post(f"{BASE}{path}", json=resource, headers=headers), expected)


def coded(table, code):
    return {"coding": [{"system": f"{NOS}/{table}/FHIR/{table.replace('_', '-')}", "code": code}]}


def document(unique_id, text, author, ins=INS, type_code="11488-4", labels=()):
    """A DocumentReference with its bytes (ITI-105)."""
    cda = f"""<?xml version="1.0" encoding="UTF-8"?>
<ClinicalDocument xmlns="urn:hl7-org:v3"><typeId root="2.16.840.1.113883.1.3" extension="POCD_HD000040"/>
<id root="{unique_id}"/><code code="{type_code}" codeSystem="2.16.840.1.113883.6.1"/><title>Compte rendu</title>
<recordTarget><patientRole><id root="{INS_SYSTEM.removeprefix('urn:oid:')}" extension="{ins}"/></patientRole></recordTarget>
<component><structuredBody><component><section><text>{text}</text></section></component></structuredBody></component>
</ClinicalDocument>""".encode()
    return {
        "resourceType": "DocumentReference",
        "contained": [
            {"resourceType": "PractitionerRole", "id": "auteur",
             "identifier": [{"system": "urn:oid:1.2.250.1.71.4.2.1", "value": author}]},
        ],
        "masterIdentifier": {"system": "urn:ietf:rfc:3986", "value": f"urn:oid:{unique_id}"},
        "status": "current",
        "type": {"coding": [{"system": "http://loinc.org", "code": type_code}]},
        "subject": {"identifier": {"system": INS_SYSTEM, "value": ins}},
        "author": [{"reference": "#auteur"}],
        **({"securityLabel": [coded("TRE_A07-StatutVisibiliteDocument", label) for label in labels]} if labels else {}),
        "content": [{
            "attachment": {
                "contentType": "text/xml", "language": "fr-FR", "title": "Compte rendu de consultation",
                "size": len(cda), "hash": base64.b64encode(hashlib.sha1(cda).digest()).decode(),
                "data": base64.b64encode(cda).decode(),
            },
            "format": {"system": f"{NOS}/TRE_A06-FormatCodeComplementaire/FHIR/TRE-A06-FormatCodeComplementaire",
                       "code": "urn:ihe:iti:xds-sd:text:2008"},
        }],
        "context": {
            "period": {"start": "2026-06-12T09:30:00+02:00"},
            "facilityType": coded("TRE_R02-SecteurActivite", "SA07"),
            "practiceSetting": coded("TRE_A01-CadreExercice", "AMBULATOIRE"),
        },
    }, cda


def consent(ins=INS):
    """The patient's authorisation, as a professional declares it (TD0.3)."""
    return {
        "resourceType": "Consent", "status": "active",
        "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"identifier": {"system": INS_SYSTEM, "value": ins}}, "provision": {"type": "permit"},
    }


def main():
    author, reader = card("cps-medecin"), card("cps-medecin-b")
    patient = f"{INS_SYSTEM}|{INS}"

    found = answer(author.get(f"{BASE}/Patient", params={"identifier": patient}))
    print("record:", found["total"], "open:", found["entry"][0]["resource"]["active"])

    unique_id = f"2.25.{uuid.uuid4().int}"
    resource, cda = document(unique_id, "Examen sans particularité.", "810100000016")
    fed = post(author, "/DocumentReference", resource)
    # Sent again, it is answered as the first time: retry without fear.
    again = post(author, "/DocumentReference", resource)
    print("fed:", fed["id"], "again:", str(again["id"] == fed["id"]).lower())

    # Whoever reads, and whoever changes what he fed, has the patient's authorisation.
    for doctor in (author, reader):
        post(doctor, "/Consent", consent())
    search = {"patient.identifier": patient, "status": "current", "identifier": f"urn:oid:{unique_id}"}
    found = answer(reader.get(f"{BASE}/DocumentReference", params=search))
    print("found:", found["total"])
    url = found["entry"][0]["resource"]["content"][0]["attachment"]["url"]
    read = reader.get(url, headers={"Accept": "*/*"})
    print("read as fed:", str(read.content == cda).lower())

    masked = author.patch(
        f"{BASE}/DocumentReference/{fed['id']}",
        json=[{"op": "add", "path": "/securityLabel/-", "value": coded("TRE_A07-StatutVisibiliteDocument", "MASQUE_PS")}],
        headers={"Content-Type": "application/json-patch+json", "If-Match": 'W/"1"'},
    )
    print("masked, version:", answer(masked)["meta"]["versionId"])
    print("the other finds:", answer(reader.get(f"{BASE}/DocumentReference", params=search))["total"])
    print("and reads:", reader.get(f"{BASE}/DocumentReference/{fed['id']}").status_code)

    emergency = card("cps-infirmier")
    token = answer(emergency.post(
        BASE.removesuffix("/fhir") + "/oauth2/token",
        data={"grant_type": "client_credentials", "scope": "ITI-67 ITI-68", "purpose_of_use": "bris_de_glace",
              "motif": "patient inconscient", "patient": patient},
    ))["access_token"]
    emergency.headers["Authorization"] = f"Bearer {token}"
    found = answer(emergency.get(f"{BASE}/DocumentReference", params={"patient.identifier": patient, "status": "current"}))
    print("in an emergency:", found["resourceType"], "masked among them:", str(fed["id"] in str(found)).lower())


if __name__ == "__main__":
    main()

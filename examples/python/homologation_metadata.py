"""What homologation.py says of its documents in FHIR: DocumentReference, and the transaction of ITI-65."""

import base64
import hashlib
import uuid

from day import INS_SYSTEM, NOS, coded
from homologation_documents import KOS

PROFESSIONAL, STRUCTURE = "urn:oid:1.2.250.1.71.4.2.1", "urn:oid:1.2.250.1.71.4.2.2"
PROFILES = "https://interop.esante.gouv.fr/ig/fhir/pdsm/StructureDefinition"
MHD = "https://profiles.ihe.net/ITI/MHD"
# The class of a document follows from its type; these are not of class 10, reports.
CLASSES = {"CERT_DECL": "52", "87273-9": "52", "IMG-KOS": "31", "18748-4": "31", "55115-0": "42"}


def resources(found):
    """Of a Bundle that was answered."""
    return [entry["resource"] for entry in found["entry"]]


def type_of(code):
    """LOINC has numbers, the DMP's own types have letters."""
    system = "http://loinc.org" if code[0].isdigit() else f"{NOS}/TRE_A05-TypeDocComplementaire/FHIR/TRE-A05-TypeDocComplementaire"
    return {"coding": [{"system": system, "code": code}]}


def format_of(code):
    table = "TRE_A09-DICOMuidRegistry" if code == KOS else "TRE_A11-IheFormatCode" if ":ihe:" in code else "TRE_A06-FormatCodeComplementaire"
    return {"system": f"{NOS}/{table}/FHIR/{table.replace('_', '-')}", "code": code}


def visibility(code):
    return coded("TRE_A08-HL7Confidentiality" if code == "N" else "TRE_A07-StatutVisibiliteDocument", code)


def contained(number, author):
    """An author: a person is a role with his number."""
    if author.startswith("1"):
        return {"resourceType": "Organization", "id": f"a{number}", "identifier": [{"system": STRUCTURE, "value": author}]}
    return {"resourceType": "PractitionerRole", "id": f"a{number}", "identifier": [{"system": PROFESSIONAL, "value": author}]}


def custodian(document):
    """Who keeps the document: the structure that is an author, or else the practice."""
    return next((author for author in document.authors if author.startswith("1")), "1750000101")


def reference(document, content):
    """The DocumentReference, without the place of its bytes."""
    subject = {"reference": f"Patient?identifier={INS_SYSTEM}|{document.ins}"}
    patient = {"resourceType": "Patient", "id": "patient", "identifier": [{"use": "official", "system": INS_SYSTEM, "value": document.ins}]}
    authors = [contained(number, author) for number, author in enumerate(document.authors)]
    resource = {
        "resourceType": "DocumentReference",
        "meta": {"profile": [f"{PROFILES}/pdsm-comprehensive-document-reference"]},
        "contained": [patient, *authors],
        "masterIdentifier": {"system": "urn:ietf:rfc:3986", "value": f"urn:oid:{document.unique_id}"},
        "identifier": [{"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{uuid.uuid4()}"}],
        "status": "current", "type": type_of(document.type_code),
        "category": [coded("TRE_A03-ClasseDocument", CLASSES.get(document.type_code, "10"))],
        "subject": subject, "date": "2026-06-12T10:00:00+02:00",
        "author": [{"reference": f"#{author['id']}"} for author in authors],
        "custodian": {"identifier": {"system": STRUCTURE, "value": custodian(document)}},
        "securityLabel": [visibility(label) for label in document.labels],
        "content": [{
            "attachment": {
                "contentType": document.media, "language": "fr-FR", "title": document.title, "creation": "2026-06-12T10:00:00+02:00",
                "size": len(content), "hash": base64.b64encode(hashlib.sha1(content).digest()).decode(),
            },
            "format": format_of(document.format),
        }],
        "context": {
            "period": {"start": "2026-06-12T09:30:00+02:00", "end": "2026-06-12T10:00:00+02:00"},
            "facilityType": coded("TRE_R02-SecteurActivite", document.sector),
            "practiceSetting": coded("TRE_A01-CadreExercice", "AMBULATOIRE"),
            "sourcePatientInfo": {"reference": "#patient"},
        },
    }
    if document.replaces:
        target = {"identifier": {"system": "urn:ietf:rfc:3986", "value": f"urn:oid:{document.replaces}"}}
        resource["relatesTo"] = [{"code": "replaces", "target": target}]
    if document.related:
        resource["context"]["related"] = [{"identifier": {
            "type": {"coding": [{"system": "urn:ietf:rfc:3986", "code": f"urn:ihe:iti:xds:{kind}"}]}, "value": value,
        }} for kind, value in document.related]
    return resource


def alone(document):
    """One document as ITI-105 sends it: the bytes stand in it."""
    content = document.content()
    resource = reference(document, content)
    resource["content"][0]["attachment"]["data"] = base64.b64encode(content).decode()
    return resource


def transaction(documents, source, superseded=()):
    """ITI-65: a SubmissionSet, each document and its bytes, and a PATCH for each older document (`superseded`: its id)."""
    def entry(resource, method="POST", url=None):
        request = {"method": method, "url": url or resource["resourceType"]}
        return {"fullUrl": f"urn:uuid:{uuid.uuid4()}", "resource": resource, "request": request}

    described, binaries = [], []
    for document in documents:
        content = document.content()
        data = base64.b64encode(content).decode()
        binaries.append(entry({"resourceType": "Binary", "contentType": document.media, "data": data}))
        described.append(entry(reference(document, content)))
        described[-1]["resource"]["content"][0]["attachment"]["url"] = binaries[-1]["fullUrl"]
    activity = {"system": f"{NOS}/TRE_R209-TypeActivite/FHIR/TRE-R209-TypeActivite", "code": "07"}
    submission = {
        "resourceType": "List", "meta": {"profile": [f"{PROFILES}/pdsm-submissionset-comprehensive"]},
        "contained": [contained(0, source)],
        "extension": [
            {"url": f"{MHD}/StructureDefinition/ihe-designationType", "valueCodeableConcept": {"coding": [activity]}},
            {"url": f"{MHD}/StructureDefinition/ihe-sourceId", "valueIdentifier": {"system": "urn:ietf:rfc:3986", "value": "urn:oid:2.25.20"}},
        ],
        "identifier": [{"use": "usual", "system": "urn:ietf:rfc:3986", "value": f"urn:oid:2.25.{uuid.uuid4().int}"}],
        "status": "current", "mode": "working", "subject": described[0]["resource"]["subject"], "date": "2026-06-12T10:05:00+02:00",
        "code": {"coding": [{"system": f"{MHD}/CodeSystem/MHDlistTypes", "code": "submissionset"}]},
        "source": {"reference": "#a0"}, "entry": [{"item": {"reference": one["fullUrl"]}} for one in described],
    }
    operation = [{"name": "type", "valueCode": "replace"}, {"name": "path", "valueString": "DocumentReference.status"},
                 {"name": "value", "valueCode": "superseded"}]
    patch = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": operation}]}
    patches = [entry(patch, "PATCH", f"DocumentReference/{older}") for older in superseded]
    return {"resourceType": "Bundle", "type": "transaction", "entry": [entry(submission), *described, *binaries, *patches]}

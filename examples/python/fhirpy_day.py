"""A practice software's day against Habilis, with fhirpy: feed, find, read, mask, emergency.

    cargo run --release -- sandbox                                          # in one terminal
    pip install fhirpy==2.3.1 && python3 examples/python/fhirpy_day.py      # in another

HABILIS_BASE and HABILIS_CERTS say where the server is and where its cards lie. The resources are those of day.py beside this file.
"""

import uuid

from fhirpy import SyncFHIRClient
from fhirpy.base.exceptions import ResourceNotFound

from day import BASE, CERTS, INS, INS_SYSTEM, answer, card, coded, consent, document


def client(name, headers=None, token=None):
    """A client over mutual TLS with the card of that name: `requests_config` goes to requests, with each call."""
    return SyncFHIRClient(
        BASE,
        authorization=token and f"Bearer {token}",
        extra_headers={"Content-Type": "application/fhir+json", **(headers or {})},
        requests_config={"verify": f"{CERTS}/ca.pem", "cert": (f"{CERTS}/{name}.pem", f"{CERTS}/{name}.key")},
    )


def create(doctor, resource):
    """`create()` writes the answer into the resource it is called on, id and all: a new one each time."""
    return doctor.resource(resource["resourceType"], **resource).create()


def mask(name, fed):
    """Adds a label, by JSON Patch. fhirpy's own `patch()` sends the elements alone (a merge patch), which FHIR R4 does not have."""
    headers = {"Content-Type": "application/json-patch+json", "If-Match": f'W/"{fed.meta.versionId}"'}
    label = coded("TRE_A07-StatutVisibiliteDocument", "MASQUE_PS")
    return client(name, headers).execute(fed.reference, "patch", data=[{"op": "add", "path": "/securityLabel/-", "value": label}])


def main():
    author, reader = client("cps-medecin"), client("cps-medecin-b")
    patient = f"{INS_SYSTEM}|{INS}"

    # `count()` wants parameters that the server does not have: the Bundle has the total.
    found = author.resources("Patient").search(identifier=patient).fetch_raw()
    print("record:", found.total, "open:", found.entry[0].resource.active)

    unique_id = f"2.25.{uuid.uuid4().int}"
    resource, cda = document(unique_id, "Examen sans particularité.", "810100000016")
    fed = create(author, resource)
    # Sent again, it is answered as the first time: retry without fear.
    again = create(author, resource)
    print("fed:", fed.id, "again:", str(again.id == fed.id).lower())

    # Whoever reads, and whoever changes what he fed, has the patient's authorisation.
    for doctor in (author, reader):
        create(doctor, consent())
    # Two underscores are a dot: patient.identifier.
    search = reader.resources("DocumentReference").search(
        patient__identifier=patient, status="current", identifier=f"urn:oid:{unique_id}")
    print("found:", len(search.fetch()))
    # The document's bytes are no FHIR: requests reads them.
    read = card("cps-medecin-b").get(search.get().content[0].attachment.url, headers={"Accept": "*/*"})
    print("read as fed:", str(read.content == cda).lower())

    print("masked, version:", mask("cps-medecin", fed)["meta"]["versionId"])
    print("the other finds:", search.fetch_raw().total)
    try:
        reader.reference("DocumentReference", fed.id).to_resource()
        print("and reads: 200")
    except ResourceNotFound:
        print("and reads: 404")

    token = answer(card("cps-infirmier").post(
        BASE.removesuffix("/fhir") + "/oauth2/token",
        data={"grant_type": "client_credentials", "scope": "ITI-67 ITI-68", "purpose_of_use": "bris_de_glace",
              "motif": "patient inconscient", "patient": patient},
    ))["access_token"]
    emergency = client("cps-infirmier", token=token)
    found = emergency.resources("DocumentReference").search(patient__identifier=patient, status="current").fetch_raw()
    print("in an emergency:", found.resourceType, "masked among them:",
          str(any(entry.resource.id == fed.id for entry in found.get("entry", []))).lower())


if __name__ == "__main__":
    main()

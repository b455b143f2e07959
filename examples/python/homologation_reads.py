"""Rows of the homologation kit on finding, reading and changing documents, and on those of an imaging examination (TD3)."""

import uuid

import requests

from homologation_documents import HIDDEN, KOS, MASKED, TIFF, file_itself, manifest
from homologation_feeds import LAB, LEVEL_1, SELF_PRESENTING
from homologation_metadata import resources
from homologation_rights import HOSPITAL_DOCTOR

ARCHIVED = "https://interop.esante.gouv.fr/ig/fhir/pdsm/StructureDefinition/pdsm-ext-is-archived"


def play(run):
    searches(run)
    found = reads(run)
    certificates_and_biology(run)
    imaging(run)
    changes(run, found)


def kind(resource):
    return resource["type"]["coding"][0]["code"]


def searches(run):
    for code, more in (
        ("3.1-005", {}), ("3.1-090", {"type": "11506-3"}), ("3.1-100", {"type": "11506-3,15507-7"}),
        ("3.1-040", {"type": "34112-3", "isArchived": "true,false"}), ("3.1-110", {"period-start": "ge2010"}),
        ("3.1-130", {"period-start": "ge2010", "period-end": "le2027-03-20"}),
    ):
        run.find(code, "complet", **more)
    run.play("3.1-400", "GET", "/List", params={
        "patient.identifier": run.patient("complet"), "code": "submissionset", "status": "current",
        "date": "ge2025-05-26T09:00:00Z", "_include": "List:item"})
    emergency = run.card(
        "cps-medecin", scope="ITI-67 ITI-68", purpose_of_use="bris_de_glace", motif="patient inconscient", patient=run.patient("urgence"))
    run.find("3.1-150", "urgence", by=emergency)


def reads(run):
    found = resources(run.find(None, "complet", isArchived="true,false", _count="50"))
    # 3.2-010 (tiff), 3.2-020 (text), 3.2-030 (archived): none is named, each read counts for the row that it plays.
    for resource in found:
        run.read(None, resource)
    masked = resources(run.find(None, "traite"))[0]
    run.read("3.2-150", masked)
    return {kind(resource): resource for resource in found} | {"masked": masked}


def certificates_and_biology(run):
    certificate = {"type_code": "CERT_DECL", "title": "Certificat"}
    certificates = [run.feed(None, "ouvert", **certificate | model) for model in (LEVEL_1, SELF_PRESENTING)]
    run.declare("TNR-03#1", "ouvert")
    run.find("TNR-03#1", "ouvert", type="CERT_DECL")
    for document in certificates:
        run.read("TNR-03#3", run.look_up(None, "ouvert", document))
    of_a_child = run.look_up(None, "ouvert", run.feed(None, "ouvert", **certificate, format="urn:asip:ci-sis:cse-cs8:2017"))
    for accept in ("application/xml", "text/xml"):
        run.read("3.2-400", of_a_child, accept=accept)
    biology = run.feed(None, "ouvert", **LAB, **SELF_PRESENTING)
    run.read("3.2-420", run.look_up(None, "ouvert", biology))
    # The history that the server made of the notes of vaccinations.
    run.read("3.2-550", resources(run.find("3.2-550", "autorise", type="11369-6"))[0])


def imaging(run):
    """Request, manifest and reports of one examination carry its numbers, and are found by them."""
    study = f"2.25.{uuid.uuid4().int}"
    accessions = [f"RAD-{run.id}-{number}" for number in range(4)]
    numbers = [[("2016:studyInstanceUID", f"urn:oid:{study}"), ("2013:accession", accession)] for accession in accessions]
    kos = run.document("autorise", type_code="IMG-KOS", format=KOS, media="application/dicom", bytes_of=manifest, related=numbers[0])
    report = run.document("autorise", type_code="18748-4", title="Compte rendu d'imagerie", related=numbers[1])
    run.submit("2.1-800", [kos, report])
    run.feed(None, "autorise", type_code="55115-0", title="Demande d'actes d'imagerie", format="urn:ans:ci-sis:img-da:2022", related=numbers[2])
    run.feed(None, "autorise", related=numbers[3])
    run.find("3.1-800", "autorise", **{"related:identifier": study})
    found = run.look_up(None, "autorise", kos)
    # Software that shows images takes the DICOM object; other software, a text that tells of it.
    for accept in ("application/dicom", "text/xml"):
        run.read("3.2-800", found, accept=accept)
    run.delete("3.3-800", kos)
    scan = run.feed(None, "autorise", type_code="18748-4", format=TIFF, media="image/tiff", bytes_of=file_itself)
    run.read("3.2-600", run.look_up(None, "autorise", scan), by=run.named("INDIRECTE_RENFORCEE", HOSPITAL_DOCTOR), accept="image/tiff")


def changes(run, found):
    run.label("3.3-050", found["masked"], "N")
    run.label(None, found["masked"], "N", MASKED)
    try:
        run.label("3.3-200", found["masked"], "N", by=run.named("INDIRECTE_RENFORCEE"))
    except requests.HTTPError:
        run.lacks("the directory knows no activity of the run's first doctor in the hospital", "3.3-200")
    run.label("TNR-03#5", run.feed(None, "autorise", labels=["N", HIDDEN]), "N")
    run.label("3.3-060", found["70004-7"], "N")
    run.label("3.3-160", found["15507-7"], "N", MASKED)
    run.delete("3.3-070", run.feed(None, "autorise", type_code="11506-3"))
    own = run.feed(None, "autorise", type_code="11505-5")
    run.look_up("3.3-540", "autorise", own)
    run.delete("3.3-540", own)
    run.delete("3.3-080", run.feed(None, "autorise", type_code="BIL_AUTO", labels=["N", MASKED]))
    archive = {"op": "add", "path": "/extension/-", "value": {"url": ARCHIVED, "valueBoolean": True}}
    run.change("3.3-120", run.feed(None, "autorise", type_code="11502-2"), archive)

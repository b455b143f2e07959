"""Rows of the homologation kit on feeding: kinds of callers, formats, labels, replacements, notes of vaccinations, opposition (TD2)."""

from homologation_documents import BODIES, FROM_PARENTS, HIDDEN, MASKED, PDF, level_1, self_presenting, vaccination
from homologation_sessions import Person

LEVEL_1 = {"format": PDF, "bytes_of": level_1}
LETTER = {"type_code": "11490-0", "title": "Lettre de liaison"}
LAB = {"type_code": "11502-2", "format": "urn:ihe:lab:xd-lab:2008", "title": "Biologie"}
SELF_PRESENTING = {"media": "application/xslt+xml", "bytes_of": self_presenting}
NOTE = {"type_code": "87273-9", "format": "urn:asip:ci-sis:vac-note:2021", "title": "Note de vaccination"}

SECRETARY = Person("3750000010/CPE0001", "NADIA SECRET", (("1.2.250.1.213.1.1.4.6", "SECRETARIAT_MEDICAL"),))


def play(run):
    callers(run)
    contents(run)
    visibilities(run)
    replacements(run)
    establishments(run)
    vaccinations(run)
    opposition(run)


def callers(run):
    for by in (run.doctor, run.secretary, run.named()):
        run.feed("TNR-01#1", "ouvert", by=by)
    for code in ("0.1-120", "2.2-010"):
        run.feed(code, "ouvert", by=run.secretary, **LETTER, **LEVEL_1)
    run.feed("0.1-110", "ouvert")
    own = run.feed(None, "ouvert")
    run.look_up("TNR-01#3", "ouvert", own)
    run.delete("TNR-01#3", own)


def contents(run):
    for model in ({}, LAB, LETTER | {"format": "urn:asip:ci-sis:ldl-ses:2017"}, LAB | SELF_PRESENTING):
        run.submit("TNR-02", [run.document("ouvert", **model)])
    run.feed("2.1-010", "ouvert", **LETTER, **LEVEL_1)
    run.submit("2.1-010", [run.document("ouvert", **LETTER, **LEVEL_1)])
    for body in BODIES:
        run.feed("2.1-011", "ouvert", type_code="CERT_DECL", format=body, bytes_of=level_1, title="Certificat")
    run.submit("2.1-013", [run.document("ouvert")])
    run.feed("2.1-014", "ouvert", **LAB, **SELF_PRESENTING)
    run.submit("2.1-020", [run.document("ouvert", **LETTER, **LEVEL_1), run.document("ouvert")])


def visibilities(run):
    run.feed("2.1-050", "ouvert", type_code="34874-8", labels=["N", MASKED])
    run.feed("2.1-060", "ouvert", type_code="34112-3", labels=["N", HIDDEN])
    for code in ("TNR-01#6", "2.1-600"):
        run.feed(code, "mineur", labels=["N", FROM_PARENTS])


def replacements(run):
    older = run.feed(None, "ouvert")
    newer = run.document("ouvert", replaces=older.unique_id, labels=["N", MASKED], title="Compte rendu, relu")
    run.submit("TNR-01#2", [newer], older=[older])
    # A new title, another content, shown to the patient; and not hidden from him again.
    hidden = {"labels": ["N", HIDDEN]}
    first = run.feed(None, "ouvert", **hidden)
    second = run.feed("2.1-140#1", "ouvert", older=first, title="Titre corrigé", **hidden)
    third = run.feed("2.1-140#2", "ouvert", older=second, title="Titre corrigé", **hidden)
    shown = run.feed("2.1-140#3", "ouvert", older=third, title="Titre définitif")
    run.feed("2.1-140#4", "ouvert", 422, older=shown, **hidden)


def establishments(run):
    run.feed("2.1-160", "ouvert", by=run.named(), **LETTER, **LEVEL_1)
    # The hospital for one of its sites, and for itself; a home for the elderly (SA17) feeds for a site alone.
    run.feed("2.1-180", "ouvert", by=run.named(site="1750000051", sector="SA17"), sector="SA17")
    run.feed("2.1-180", "ouvert", by=run.named())
    run.feed("2.1-180", "ouvert", 403, by=run.named(sector="SA17"), sector="SA17")
    # A doctor wrote it, a secretary sends it: both are authors, and she is the source of the submission.
    hospital = run.named(person=SECRETARY)
    run.submit("2.1-900", [run.document("ouvert", authors=[*run.doctor.authors, *hospital.authors], **LETTER, **LEVEL_1)], by=hospital)


def vaccinations(run):
    """Of the notes of a record the server makes its vaccination history."""
    doctor, other = run.doctor.authors[0], run.other.authors[0]
    run.feed("2.1-710", "autorise", bytes_of=vaccination("20260612", "61077869", doctor), **NOTE)
    authors = [*run.secretary.authors, doctor, other]
    run.feed("2.2-720", "autorise", by=run.secretary, authors=authors, bytes_of=vaccination("20260613", "68747507", other), **NOTE)


def opposition(run):
    """The patient opposes feeding after four documents: nothing new; what is there is replaced and deleted by whose it is."""
    for by, new, replaced, deleted in (
        (run.doctor, "2.1-970#3", "2.1-970#4", "2.1-970#5"), (run.secretary, "2.2-980#3", "2.2-980#4", "2.2-980#5"),
    ):
        run.patient_acts("oppose", "accepter")
        first, second = run.feed(None, "oppose", by=by), run.feed(None, "oppose", by=by)
        run.patient_acts("oppose", "opposer")
        run.feed(new, "oppose", 403, by=by)
        run.feed(replaced, "oppose", by=by, older=first)
        run.delete(deleted, second, by=by)

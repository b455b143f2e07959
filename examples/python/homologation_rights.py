"""Rows of the homologation kit on who may: existence, authorisations, lists, secret connections, establishments, emergencies (TD0, TD1)."""

from day import BASE
from homologation_documents import FROM_PARENTS
from homologation_sessions import Person

# She works in the hospital whose certificate a run has: the sandbox's directory says so, and AIR is for such people alone.
HOSPITAL_DOCTOR = Person("810100000016", "CLAIRE BERNARD")
PRACTITIONER = "urn:oid:1.2.250.1.71.4.2.1"


def play(run):
    existence(run)
    authorisations(run)
    secret_connection(run)
    establishments(run)
    regulation(run)


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
    run.declare("0.3-100", "sansquinze", by=run.secretary)
    for code, name in (("0.1-140", "cps-pharmacien"), ("0.1-150", "cps-kine")):
        run.declare(None, "autorise", by=run.card(name))
        run.find(code, "autorise", by=run.card(name))
    of_patient = {"patient.identifier": run.patient("complet")}
    run.play("1.6-010", "GET", "/Consent", params=of_patient)
    run.play("1.6-030", "GET", "/Consent", params=of_patient | {"status": "active", "provision-type": "deny"})


def secret_connection(run):
    """A minor who asks that his legal representatives learn nothing of it."""
    secret = run.card("cps-medecin", connexion_secrete="true")
    hidden = {"labels": ["N", FROM_PARENTS]}
    documents = [run.feed("0.1-300#3a", "mineur", by=secret, **hidden) for _ in range(4)]
    run.feed("0.1-300#3b", "mineur", by=secret, older=documents[1], **hidden)
    run.delete("0.1-300#3c", documents[2], by=secret)
    run.find("0.1-300#3d", "mineur", by=secret)
    # The secret session is over. What is shown to the representatives is not hidden from them again, in whatever way.
    shown = run.feed("0.1-300#5a", "mineur", older=documents[3])
    run.feed("0.1-300#5b", "mineur", 422, older=shown, **hidden)
    visible = run.feed("0.1-300#5c", "mineur")
    run.feed("0.1-300#6", "mineur", 422, by=secret, older=visible, **hidden)
    run.label("0.1-300#7", shown, "N", FROM_PARENTS, expected=422)


def establishments(run):
    """Without proof an establishment feeds and reads nothing; with proof (AIR) it reads, a token a request, and feeds nothing."""
    run.feed("0.1-210", "ouvert", by=run.named())

    def air():
        return run.named("INDIRECTE_RENFORCEE", HOSPITAL_DOCTOR)

    run.declare(None, "autorise", by=air())
    for code in ("0.1-400", "3.1-500"):
        run.find(code, "autorise", by=air())


def regulation(run):
    """A regulation centre, which opens records without their patients' authorisation, and finds patients without INS."""
    if run.has("cps-regulateur"):
        doctor = run.card("cps-regulateur", purpose_of_use="centre_15")
        run.people("0.5-010", by=doctor, **{"family:exact": run.patients["ouvert"]["family"]})
        run.people("0.5-090", by=doctor, **{"family:exact": "NULLEPART"})
        # Too many patients, where there are so many: the limit is 20.
        if doctor.connection.get(f"{BASE}/Patient", params={"gender": "female"}).status_code == 200:
            run.lacks("the sandbox has too few records for a search that finds too many", "0.5-500")
        run.find("3.1-240", "sansquinze", 403, by=doctor)
    else:
        run.lacks("the run has no card of a regulating doctor", "0.5-010", "0.5-090", "0.5-500", "3.1-240")
    if run.has("org-samu"):
        def centre():
            return run.named(purpose="centre_15", name="org-samu")

        run.exists("0.1-220", "ouvert", by=centre())
        run.people("0.5-050", by=centre(), birthdate=run.patients["ouvert"]["birth_date"])
    else:
        run.lacks("the run has no certificate and seal of a regulation centre", "0.1-220", "0.5-050")


def lists(run):
    """What the structure was authorised for is open to who acts for it. Whose records one may read: one's own list, that of a
    colleague of the secretary's structure; where something is new."""
    run.find("0.3-100", "sansquinze", by=run.card("cps-medecin-b", structure="1750000101"))
    mine = {"actor:identifier": f"{PRACTITIONER}|{run.doctor.authors[0]}", "status": "active", "date": "ge2011-03-01"}
    for code, by in (("0.4-010", run.doctor), ("0.4-015", run.secretary)):
        run.play(code, "GET", "/Consent", by=by, params=mine | {"_include": "Consent:patient"})
    run.people("0.4-020", **{"_has:DocumentReference:patient:_lastUpdated": "ge2010-03-01"})


def spend_the_budget(run):
    """3.1-010: the file is searched until it was too often; feeding goes on. Only a sandbox with `--limits` counts searches."""
    params = {"patient.identifier": run.patient("autorise"), "status": "current"}
    searches = (run.doctor.connection.get(f"{BASE}/DocumentReference", params=params) for _ in range(200))
    if not any(search.status_code == 429 for search in searches):
        run.lacks("this sandbox counts no searches: begin it with --limits", "3.1-010")
    run.feed(None, "ouvert")

"""Plays rows of the homologation kit with one fault each, and looks whether the report names the fault that was put in.

    python3 examples/python/homologation_faults.py

Prints a line for each, `CODE: what was wrong -> finding (element; rule)`; ends with 1 if the report names another fault, or none.
"""

import sys

from day import consent
from homologation import FHIR, Run
from homologation_documents import HIDDEN, MASKED
from homologation_metadata import alone, resources
from homologation_reads import kind
from homologation_rights import HOSPITAL_DOCTOR
from homologation_sessions import TOKEN, Person


def document(run, type_code):
    """One of those that were there when the run began; the second doctor is their author."""
    return next(one for one in resources(run.find(None, "complet")) if kind(one) == type_code)


def another_ins(run):
    run.play("0.2-030", "GET", "/Patient", None, params={"identifier": run.patient("ouvert")[:-1]})


def refusing_consent(run):
    run.play("0.3-010", "POST", "/Consent", None, json=consent(run.patients["ouvert"]["ins"]) | {"provision": {"type": "deny"}}, headers=FHIR)


def another_hash(run):
    document = alone(run.document("ouvert", type_code="34874-8", labels=["N", MASKED]))
    document["content"][0]["attachment"]["hash"] = "AAAAAAAAAAAAAAAAAAAAAAAAAAA="
    run.play("2.1-050", "POST", "/DocumentReference", None, json=document, headers=FHIR)


def masked_and_hidden(run):
    run.feed("2.1-160", "ouvert", None, by=run.named(), type_code="11490-0", labels=["N", MASKED, HIDDEN])


def replaced_by_another(run):
    older = run.feed(None, "ouvert", by=run.other)
    run.feed("TNR-01#2", "ouvert", None, older=older, labels=["N", MASKED])


def another_type(run):
    run.find("3.1-090", "complet", type="15507-7")


def sets_without_date(run):
    params = {"patient.identifier": run.patient("complet"), "code": "submissionset", "status": "current"}
    run.play("3.1-400", "GET", "/List", params=params)


def another_format(run):
    found = document(run, "18748-4")
    run.read("3.2-010", found, None, accept="application/pdf")


def another_element(run):
    found = document(run, "15507-7")
    run.change("3.3-160", found, {"op": "replace", "path": "/description", "value": "autre"}, None)


def deleted_by_another(run):
    found = document(run, "11506-3")
    run.delete("3.3-070", found, None)


def emergency_without_session(run):
    run.find("3.1-150", "urgence", None)


def token_used_twice(run):
    air = run.named("INDIRECTE_RENFORCEE", HOSPITAL_DOCTOR)
    run.exists(None, "autorise", by=air)
    run.find("0.1-400", "autorise", None, by=air)


def named_without_activity(run):
    """AIR is for people of the establishment: this one works elsewhere."""
    elsewhere = Person("810100000099", "YANN LAMBERT")
    run.play("3.1-500", "POST", TOKEN, None, by=run.card("org"), data=run.assertion("INDIRECTE_RENFORCEE", elsewhere))


def not_secret(run):
    run.find("0.1-300#3d", "mineur")


# Row, what is wrong with the call, the call; and what the report must name: words of the finding, the element, words of the rule.
FAULTS = [
    ("0.2-030", "existence: a digit of the INS is missing", another_ins, "an INS has 15 characters", "identifier", "InvalidIns"),
    ("0.3-010", "authorisation: the patient refuses", refusing_consent, "a declaration permits", "Consent.provision.type", "InvalidMetadata"),
    ("2.1-050", "feed by a person: the hash of other bytes", another_hash,
     "not those of the bytes received", "DocumentReference.content[0].attachment.hash", "HashMismatch"),
    ("2.1-160", "feed by an organisation: masked and hidden at once", masked_and_hidden,
     "MASQUE_PS and INVISIBLE_PATIENT exclude each other", "DocumentReference.securityLabel", "InvalidMetadata"),
    ("TNR-01#2", "replacement: of somebody else's document", replaced_by_another,
     "the document to be replaced is not known", "DocumentReference.relatesTo[0].target", "replaced by its author"),
    ("3.1-090", "search of documents: another type", another_type, "type = 11506-3 is expected, and there is 15507-7", "", "TD3.1 search metadata"),
    ("3.1-400", "search of submission sets: no date", sets_without_date, "param = date is expected", "", "TD3.1 search metadata"),
    ("3.2-010", "read: in a format that it does not have", another_format, "the document is image/tiff", "", "NotAcceptable"),
    ("3.3-160", "mask: another element is changed", another_element, "op = mask is expected", "DocumentReference.description", "ElementNotUpdatable"),
    ("3.3-070", "delete: somebody else's document", deleted_by_another, "only the author of the document may do this", "", "NotTheAuthor"),
    ("3.1-150", "emergency: no session was opened for it", emergency_without_session,
     "mode = bris_de_glace is expected, and there is normal", "", "NoAuthorisation"),
    ("0.1-400", "session by token: used a second time", token_used_twice, "the access token was used already", "", "TokenSpent"),
    ("3.1-500", "session by token: of somebody who works elsewhere", named_without_activity,
     "the directory knows no activity of the professional in this structure", "", "StructureNotLinked"),
    ("0.1-300#3d", "session by token: the connection is not secret", not_secret,
     "secret = yes is expected, and there is no", "", "TD3.1 search metadata"),
]


def main():
    run = Run()
    for _, _, call, *_ in FAULTS:
        call(run)
    rows = {row["code"]: row for row in run.report()["rows"]}
    unnamed = 0
    for code, what, _, finding, element, rule in FAULTS:
        row = rows[code]
        said = [row.get(name) or "" for name in ("finding", "element", "rule")]
        print(f"{code}: {what} -> {said[0]} ({said[1]}; {said[2]})")
        if row["verdict"] != "failed" or finding not in said[0] or element != said[1] or rule not in said[2]:
            unnamed += 1
            print(f"  {row['verdict']}; not named: « {finding} » ({element}; {rule})")
    sys.exit(bool(unnamed))


if __name__ == "__main__":
    main()

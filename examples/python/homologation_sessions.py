"""Who calls in homologation.py: a card, a card in a session of a kind, an establishment that names who acts (docs/tokens.md)."""

import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jwt
import requests

from day import BASE, CERTS, answer, card

ISSUER = BASE.removesuffix("/fhir")
TOKEN = f"{ISSUER}/oauth2/token"
# Whose certificates a run has, by the names of their files: the sandbox's hospital, and its regulation centre.
STRUCTURES = {"org": "1750000010", "org-samu": "1750000028"}


@dataclass
class Caller:
    """A connection with its card or certificate, in a session if there is one; and who stands as the author of what it feeds."""

    connection: requests.Session
    authors: list


class Person(NamedTuple):
    """Whom an establishment names: a professional, or one of its staff; the roles by table and code."""

    id: str
    name: str
    roles: tuple = (("1.2.250.1.71.1.2.7", "10"), ("1.2.250.1.71.4.2.5", "SM26"))


def by_card(name, authors, **parameters):
    """The card's holder; with parameters in a session of its own, as an emergency or a secret connection."""
    connection = card(name)
    if parameters:
        opened = connection.post(TOKEN, data={"grant_type": "client_credentials", **parameters})
        connection.headers["Authorization"] = f"Bearer {answer(opened)['access_token']}"
    return Caller(connection, authors)


def by_establishment(name, person, structure, mode="INDIRECTE", site=None, **said):
    """An establishment's software, for somebody. Of AIR (INDIRECTE_RENFORCEE) the token is good for one request."""
    connection = card(name)
    opened = connection.post(TOKEN, data=assertion(name, person, structure, mode, site, **said))
    opened.raise_for_status()
    connection.headers["Authorization"] = f"Bearer {opened.json()['access_token']}"
    # What it feeds is the structure's, which is an author beside the person.
    return Caller(connection, [person.id, site or structure])


def assertion(name, person, structure, mode="INDIRECTE", site=None, sector="SA01", purpose="normal"):
    """The form of a token request, with an assertion under the establishment's seal. `site`: one of its geographic sites."""
    now = int(time.time())
    claims = {
        "iss": structure, "sub": person.id, "aud": ISSUER, "iat": now, "exp": now + 30, "jti": str(uuid.uuid4()),
        "extensions": {
            "ihe_iua": {
                "subject_name": person.name, "subject_organization_id": site or structure,
                "subject_role": [{"system": f"urn:oid:{table}", "code": code} for table, code in person.roles],
                "purpose_of_use": [{"system": "urn:oid:1.2.250.1.213.1.1.4.248", "code": purpose}],
            },
            "dmp": {
                "authentification_mode": mode, "secteur_activite": sector, "ressource_urn": "urn:dmp",
                "lps_nom": "Logiciel de démonstration", "lps_version": "2.3", "lps_id_homologation": "DEMO-DMP-0001",
                # AIR: how and when the establishment made sure who it is.
                "authentification_primaire": {"method": "carte CPE", "at": now - 60},
            },
        },
    }
    seal, key = (Path(CERTS, f"{name}-signature.{kind}").read_text() for kind in ("pem", "key"))
    # The first certificate of the file is the seal's own.
    certificate = seal.split("-----")[2].replace("\n", "")
    signed = jwt.encode(claims, key, "RS256", {"x5c": [certificate]})
    return {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": signed}

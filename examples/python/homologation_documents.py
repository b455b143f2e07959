"""The documents that homologation.py feeds, and their bytes: CDA of several kinds, files, the manifest of an imaging examination.

They are as small as the rules of the DMP allow; a real CDA document follows the models of the CI-SIS.
"""

import base64
import struct
import uuid
from dataclasses import dataclass, field

from day import INS_SYSTEM

MASKED, HIDDEN, FROM_PARENTS = "MASQUE_PS", "INVISIBLE_PATIENT", "INVISIBLE_REPRESENTANTS_LEGAUX"

# The format of a document around a file, or of the file itself (ASS_A12), and the file.
PDF, TEXT = "urn:ihe:iti:xds-sd:pdf:2008", "urn:ihe:iti:xds-sd:text:2008"
RTF, JPEG, TIFF = (f"urn:ihe:iti-fr:xds-sd:{body}:2010" for body in ("rtf", "jpeg", "tiff"))
KOS = "1.2.840.10008.5.1.4.1.1.88.59"
BODIES = {
    TEXT: ("text/plain", "Certificat établi ce jour.\n".encode()),
    RTF: ("text/rtf", rb"{\rtf1 Certificat}"),
    PDF: ("application/pdf", b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"),
    JPEG: ("image/jpeg", b"\xff\xd8\xff\xe0\0\x10JFIF\0\xff\xd9"),
    TIFF: ("image/tiff", b"II*\0\x08\0\0\0\0\0\0\0\0\0"),
}


@dataclass
class Document:
    """What one feed says of one document. Authors: PS_IdNat of people, Struct_IdNat of an organisation (it begins with 1)."""

    ins: str
    authors: list
    type_code: str = "11488-4"
    labels: list = field(default_factory=lambda: ["N"])
    replaces: str = None
    media: str = "text/xml"
    format: str = "urn:asipSante:modelesHorsProfils:2011"
    # What makes the bytes of it; a CDA document of level 3 unless given.
    bytes_of: callable = None
    # Numbers of an examination: (accession | order | studyInstanceUID, value).
    related: list = field(default_factory=list)
    title: str = "Compte rendu"
    sector: str = "SA07"
    unique_id: str = field(default_factory=lambda: f"2.25.{uuid.uuid4().int}")
    # As the server answers.
    id: str = None

    def content(self):
        return (self.bytes_of or level_3)(self)


def people(document):
    return [author for author in document.authors if not author.startswith("1")]


def header(document):
    """A CDA header says the same as the metadata: patient, unique id, type, and as many authors."""
    authors = "".join(f"""
<author><time value="20260612"/><assignedAuthor><id root="1.2.250.1.71.4.2.1" extension="{author}"/></assignedAuthor></author>"""
                      for author in people(document))
    system = "2.16.840.1.113883.6.1" if document.type_code[0].isdigit() else "1.2.250.1.213.1.1.4.12"
    return f"""<ClinicalDocument xmlns="urn:hl7-org:v3"><realmCode code="FR"/>
<typeId root="2.16.840.1.113883.1.3" extension="POCD_HD000040"/><id root="{document.unique_id}"/>
<code code="{document.type_code}" codeSystem="{system}"/><title>{document.title}</title><effectiveTime value="20260612100000+0200"/>
<confidentialityCode code="N" codeSystem="2.16.840.1.113883.5.25"/><languageCode code="fr-FR"/>
<recordTarget><patientRole><id root="{INS_SYSTEM.removeprefix('urn:oid:')}" extension="{document.ins}"/></patientRole></recordTarget>{authors}
"""


def level_3(document, entry=""):
    """A CDA document with sections."""
    text = "<text>Examen sans particularité.</text>"
    section = f"<component><structuredBody><component><section>{text}{entry}</section></component></structuredBody></component>"
    return f"{header(document)}{section}</ClinicalDocument>".encode()


def level_1(document):
    """A CDA header around a file: the format says of what kind the file is."""
    media, body = BODIES[document.format]
    text = f'<text mediaType="{media}" representation="B64">{base64.b64encode(body).decode()}</text>'
    return f"{header(document)}<component><nonXMLBody>{text}</nonXMLBody></component></ClinicalDocument>".encode()


def self_presenting(document):
    """A style sheet with the CDA document in it: no script, and nothing that is fetched from outside."""
    return b"""<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform" xmlns:own="urn:exemple">
<own:document>%s</own:document>
<xsl:template match="/"><html><body><h1>Compte rendu</h1></body></html></xsl:template></xsl:stylesheet>""" % level_3(document)


def file_itself(document):
    """The file without a CDA header."""
    return BODIES[document.format][1]


def vaccination(day, vaccine, performer):
    """The bytes of a vaccination note: one entry, a UUID of its own, a CIS code of the vaccine; who vaccinated is among the authors."""
    entry = f"""<entry><substanceAdministration classCode="SBADM" moodCode="EVN"><templateId root="1.2.250.1.213.1.1.3.45"/>
<id root="{str(uuid.uuid4()).upper()}"/><effectiveTime value="{day}"/>
<consumable><manufacturedProduct><manufacturedMaterial><code code="{vaccine}" codeSystem="1.2.250.1.213.2.3.1"/>
<lotNumberText>LOT-1</lotNumberText></manufacturedMaterial></manufacturedProduct></consumable>
<performer><assignedEntity><id root="1.2.250.1.71.4.2.1" extension="{performer}"/></assignedEntity></performer>
</substanceAdministration></entry>"""
    return lambda document: level_3(document, entry)


def manifest(_document):
    """A key object selection (KOS): a DICOM file, as far as its meta group, which says what it is."""
    def element(number, kind, value):
        value += b"\0" * (len(value) % 2)
        return struct.pack("<HH2sH", 2, number, kind, len(value)) + value

    group = element(2, b"UI", KOS.encode()) + element(3, b"UI", f"2.25.{uuid.uuid4().int}".encode())
    return b"\0" * 128 + b"DICM" + element(0, b"UL", struct.pack("<I", len(group))) + group

// A practice software's day against Habilis, with fhir-kit-client: feed, find, read, mask, emergency.
//
//   cargo run --release -- sandbox                        # in one terminal
//   npm install fhir-kit-client@1.9.2 undici@6 && node examples/node/day.mjs   # in another
//
// HABILIS_BASE and HABILIS_CERTS say where the server is and where its cards lie.
import { createHash, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import https from "node:https";
import Client from "fhir-kit-client";
import { Agent } from "undici";

const base = process.env.HABILIS_BASE ?? "https://localhost:8443/fhir";
const certs = process.env.HABILIS_CERTS ?? "certs/sandbox";
const system = "urn:oid:1.2.250.1.213.1.4.10";
const ins = "185067599900166";
const patient = `${system}|${ins}`;

/** Key and certificates of the card of that name. */
const card = (name) => ({
  ca: readFileSync(`${certs}/ca.pem`),
  cert: readFileSync(`${certs}/${name}.pem`),
  key: readFileSync(`${certs}/${name}.key`),
});
const client = (name, token) =>
  // Node's own fetch, which the library uses, takes certificates by a dispatcher.
  new Client({ baseUrl: base, requestOptions: { dispatcher: new Agent({ connect: card(name) }) }, ...(token ? { bearerToken: token } : {}) });

/** What is no FHIR: a document's bytes, a token. */
const plain = (name, url, { method = "GET", headers = {}, body } = {}) =>
  new Promise((done, failed) => {
    const request = https.request(url, { method, headers, ...card(name) }, (answer) => {
      const chunks = [];
      answer.on("data", (chunk) => chunks.push(chunk));
      answer.on("end", () => done({ status: answer.statusCode, body: Buffer.concat(chunks) }));
    });
    request.on("error", failed);
    request.end(body);
  });

const uniqueId = `2.25.${BigInt(`0x${randomBytes(15).toString("hex")}`)}`;
const cda = Buffer.from(`<?xml version="1.0" encoding="UTF-8"?>
<ClinicalDocument xmlns="urn:hl7-org:v3"><typeId root="2.16.840.1.113883.1.3" extension="POCD_HD000040"/>
<id root="${uniqueId}"/><code code="11488-4" codeSystem="2.16.840.1.113883.6.1"/><title>Compte rendu</title>
<recordTarget><patientRole><id root="${system.replace("urn:oid:", "")}" extension="${ins}"/></patientRole></recordTarget>
<component><structuredBody><component><section><text>Examen.</text></section></component></structuredBody></component>
</ClinicalDocument>`);
const document = {
  resourceType: "DocumentReference",
  contained: [{ resourceType: "PractitionerRole", id: "auteur",
    identifier: [{ system: "urn:oid:1.2.250.1.71.4.2.1", value: "810100000016" }] }],
  masterIdentifier: { system: "urn:ietf:rfc:3986", value: `urn:oid:${uniqueId}` },
  status: "current",
  type: { coding: [{ system: "http://loinc.org", code: "11488-4" }] },
  subject: { identifier: { system, value: ins } },
  author: [{ reference: "#auteur" }],
  content: [{ attachment: { contentType: "text/xml", language: "fr-FR", title: "Compte rendu de consultation",
    size: cda.length, hash: createHash("sha1").update(cda).digest("base64"), data: cda.toString("base64") },
    format: { system: "https://mos.esante.gouv.fr/NOS/TRE_A06-FormatCodeComplementaire/FHIR/TRE-A06-FormatCodeComplementaire",
      code: "urn:ihe:iti:xds-sd:text:2008" } }],
  context: { period: { start: "2026-06-12T09:30:00+02:00" } },
};

const [author, reader] = [client("cps-medecin"), client("cps-medecin-b")];
const record = await author.search({ resourceType: "Patient", searchParams: { identifier: patient } });
console.log("record:", record.total, "open:", record.entry[0].resource.active);

const fed = await author.create({ resourceType: "DocumentReference", body: document });
// Sent again, it is answered as the first time: retry without fear.
const again = await author.create({ resourceType: "DocumentReference", body: document });
console.log("fed:", fed.id, "again:", again.id === fed.id);

// Whoever reads, and whoever changes what he fed, has the patient's authorisation.
for (const doctor of [author, reader]) await doctor.create({ resourceType: "Consent", body: {
  resourceType: "Consent", status: "active",
  scope: { coding: [{ system: "http://terminology.hl7.org/CodeSystem/consentscope", code: "patient-privacy" }] },
  category: [{ coding: [{ system: "http://loinc.org", code: "59284-0" }] }],
  patient: { identifier: { system, value: ins } }, provision: { type: "permit" },
} });
const searchParams = { "patient.identifier": patient, status: "current", identifier: `urn:oid:${uniqueId}` };
const found = await reader.search({ resourceType: "DocumentReference", searchParams });
console.log("found:", found.total);
const { url } = found.entry[0].resource.content[0].attachment;
const read = await plain("cps-medecin-b", url);
console.log("read as fed:", read.body.equals(cda));

const masked = await author.patch({ resourceType: "DocumentReference", id: fed.id,
  JSONPatch: [{ op: "add", path: "/securityLabel/-", value: { coding: [{ code: "MASQUE_PS" }] } }] });
console.log("masked, version:", masked.meta.versionId);
const others = await reader.search({ resourceType: "DocumentReference", searchParams });
console.log("the other finds:", others.total);
const refused = await reader.read({ resourceType: "DocumentReference", id: fed.id }).catch((error) => error.response.status);
console.log("and reads:", refused);

const form = new URLSearchParams({ grant_type: "client_credentials", scope: "ITI-67 ITI-68",
  purpose_of_use: "bris_de_glace", motif: "patient inconscient", patient });
const token = await plain("cps-infirmier", `${base.replace(/\/fhir$/, "")}/oauth2/token`, { method: "POST",
  headers: { "Content-Type": "application/x-www-form-urlencoded" }, body: form.toString() });
const emergency = client("cps-infirmier", JSON.parse(token.body).access_token);
const inEmergency = await emergency.search({ resourceType: "DocumentReference",
  searchParams: { "patient.identifier": patient, status: "current" } });
console.log("in an emergency:", inEmergency.resourceType, "masked among them:", JSON.stringify(inEmergency).includes(fed.id));
